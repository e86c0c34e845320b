/*
 * In-process machine snapshots: coverage of code that was not compiled for it.
 *
 * TCG translates guest code in blocks.  Those that begin in one of a few ranges
 * of addresses get some more host code, which counts, each time the block is
 * executed, the edge from the block before it in a map of bytes: the one that
 * AFL++ has.  Nothing else of what is executed pays for it.
 *
 * The device chooses map and ranges; the lines that the graft inserts into the
 * translator and into the emulation of x86 call what stands at the end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_COVERAGE_H
#define MIGRATION_SNAPSHOT_COVERAGE_H

#ifndef CONFIG_USER_ONLY

#include "exec/vaddr.h"
#include "migration/snapshot-engine.h"

/* There can be so many ranges. */
#define SNAPSHOT_COVERAGE_RANGES 64

/*
 * Does the machine run under TCG?  Returns false and sets @errp if not.  BQL
 * held, as for all of these.
 */
bool snapshot_coverage_possible(Error **errp);

/**
 * snapshot_coverage_setup: count edges in the @size bytes at @map
 *
 * @map belongs to the caller and stays until snapshot_coverage_release().
 */
void snapshot_coverage_setup(uint8_t *map, uint32_t size);

/* Forget the ranges and the map; nothing is counted any more. */
void snapshot_coverage_release(void);

/* Has snapshot_coverage_setup() been called? */
bool snapshot_coverage_available(void);

/* Is there a range? */
bool snapshot_coverage_in_use(void);

/**
 * snapshot_coverage_add: count edges in one more range of guest code
 * @start, @length: linear addresses, bytes
 * @here: only while the page tables are in use that this vCPU uses now
 *
 * Returns SNAPSHOT_RESULT_DONE; or sets @errp and returns REFUSED (not set up,
 * @here and no vCPU that asks), RANGE (empty) or LIMIT (too many ranges).
 */
SnapshotResult snapshot_coverage_add(vaddr start, uint64_t length, bool here,
                                     Error **errp);

/* Have no ranges. */
void snapshot_coverage_clear(void);

/*
 * A run begins, or begins again: count, and let the first block be one that
 * nothing came before.  No vCPU executes code.
 */
void snapshot_coverage_begin(void);

/* Do not count until the next snapshot_coverage_begin(). */
void snapshot_coverage_end(void);

/*
 * For inserted lines.
 */

struct DisasContextBase;

/* Is there something to do for the functions below?  Read without a lock. */
extern bool snapshot_coverage_on;

/* The functions that snapshot_coverage_translate() and the like call */
void snapshot_coverage_gen(const struct DisasContextBase *db);
void snapshot_coverage_gen_cut(const struct DisasContextBase *db);
void snapshot_coverage_set_root(CPUState *cpu, uint64_t root);
void snapshot_coverage_enter(CPUState *cpu, uint64_t pc, uint64_t sp);
void snapshot_coverage_leave(CPUState *cpu, uint64_t pc, uint64_t sp);
void snapshot_coverage_leave_call(CPUState *cpu);

/* A block is being translated; code that comes now is executed first. */
static inline void
snapshot_coverage_translate(const struct DisasContextBase *db)
{
    if (unlikely(snapshot_coverage_on)) {
        snapshot_coverage_gen(db);
    }
}

/*
 * The instructions of a block have been translated that ends without a branch:
 * what follows in memory is the rest of it.
 */
static inline void snapshot_coverage_cut(const struct DisasContextBase *db)
{
    if (unlikely(snapshot_coverage_on)) {
        snapshot_coverage_gen_cut(db);
    }
}

/* The vCPU uses other page tables: @root is the physical address of them. */
static inline void snapshot_coverage_root(CPUState *cpu, uint64_t root)
{
    if (unlikely(snapshot_coverage_on)) {
        snapshot_coverage_set_root(cpu, root);
    }
}

/* An interrupt is about to be delivered where @pc and @sp are. */
static inline void
snapshot_coverage_interrupt(CPUState *cpu, uint64_t pc, uint64_t sp)
{
    if (unlikely(snapshot_coverage_on)) {
        snapshot_coverage_enter(cpu, pc, sp);
    }
}

/* The guest has returned from one, or from an exception, to @pc and @sp. */
static inline void
snapshot_coverage_return(CPUState *cpu, uint64_t pc, uint64_t sp)
{
    if (unlikely(snapshot_coverage_on)) {
        snapshot_coverage_leave(cpu, pc, sp);
    }
}

/* The guest returns from a system call to user mode. */
static inline void snapshot_coverage_call_return(CPUState *cpu)
{
    if (unlikely(snapshot_coverage_on)) {
        snapshot_coverage_leave_call(cpu);
    }
}

#else /* CONFIG_USER_ONLY */

#define snapshot_coverage_translate(db) do { } while (0)
#define snapshot_coverage_cut(db) do { } while (0)

#endif

#endif
