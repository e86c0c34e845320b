/*
 * In-process machine snapshots: which edges of guest code are counted.
 *
 * An edge is a pair of blocks, one executed after the other with none in
 * between that begins in a range.  A block's location is a hash of where in
 * the ranges it begins, so that it does not matter where a guest has put its
 * code this time.  The edge from A to B is counted in
 *
 *     map[location(A) / 2 ^ location(B)]
 *
 * as AFL does it: halved, so that A to B is not B to A, and A to A not 0.
 *
 * TCG ends blocks where no branch does, too: at the end of a page, or where a
 * budget of instructions (-icount) ends, which depends on timers of the host.
 * So what comes then is the rest of the same block: it is no edge to get there,
 * and what comes after that comes after the beginning of the block.
 *
 * Interrupts come when they like and are no property of an input.  What is
 * executed from an interrupt to the return from it to the same place, by the
 * same stack pointer, does not count, and then the block before the interrupt
 * is the one before.  But a kernel may go on with another thread at the end of
 * an interrupt.  There is no user's code in an interrupt, so what is executed
 * after any other return to user mode counts again, and the thread that was
 * interrupted is not forgotten.  A machine that is restored is in no interrupt.
 *
 * Host memory that translated code knows of is never freed, as there is no
 * telling when the last block is gone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/tb-flush.h"
#include "exec/translation-block.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "migration/snapshot-compat.h"
#include "migration/snapshot-coverage.h"
#include "qapi/error.h"
#include "qemu/host-utils.h"
#include "qemu/memalign.h"
#include "qemu/units.h"
#include "system/tcg.h"
#include "coverage.h"
#include "trace.h"

/* The largest map that the device can have */
#define MAP_MAX (8 * MiB)

/*
 * Page tables of the kernel and of the program are next to each other where
 * Linux isolates them from each other.
 */
#define ROOT_IGNORED 0x1fffull

#define ROOT_BITS 52

typedef struct CodeRange {
    vaddr start;
    uint64_t length;        /* bytes */
    uint64_t before;        /* bytes of all ranges before this one */
    bool process;           /* only while ->root is in use */
} CodeRange;

bool snapshot_coverage_on;
uint8_t *snapshot_coverage_cpus;

static struct {
    uint8_t *map;           /* NULL: not set up */
    uint8_t *nowhere;       /* as large as any map; what does not count */
    int bits;               /* log2 of how much of the map is used */
    unsigned int n_cpus;
    bool counting;          /* between _begin() and _end() */
    uint64_t root;          /* page tables of the one process */

    /*
     * Translators read these without a lock: a range is complete before it
     * counts.  A block that was translated meanwhile is soon flushed.
     */
    CodeRange ranges[SNAPSHOT_COVERAGE_RANGES];
    unsigned int n_ranges;
} coverage;

static SnapshotCoverageCpu *state_of(unsigned int index)
{
    return (SnapshotCoverageCpu *)(snapshot_coverage_cpus +
           ((size_t)index << SNAPSHOT_COVERAGE_CPU_SHIFT));
}

/* Physical address of the page tables in use; 0 where we do not know */
static uint64_t root_of(CPUState *cpu)
{
#ifdef TARGET_I386
    return cpu_env(cpu)->cr[3];
#else
    return 0;
#endif
}

static bool is_process(uint64_t root)
{
    return !(extract64(root ^ coverage.root, 0, ROOT_BITS) & ~ROOT_IGNORED);
}

/* Have the pointers of a vCPU lead to where they should. */
static void aim(SnapshotCoverageCpu *c)
{
    uint8_t *to = qatomic_read(&coverage.counting) && !c->interrupted
                  ? coverage.map : coverage.nowhere;

    qatomic_set(&c->any, to);
    qatomic_set(&c->process, c->in_process ? to : coverage.nowhere);
}

/*
 * Blocks that are shared by all addresses that a physical page is mapped at
 * cannot tell whether they are in a range.
 */
static void make_blocks_know_addresses(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        qatomic_and(&cpu->tcg_cflags, ~CF_PCREL);
    }
}

static void change_blocks(CPUState *cpu, run_on_cpu_data unused)
{
    make_blocks_know_addresses();
#if SNAPSHOT_QEMU_SINCE(10, 2)
    tb_flush__exclusive_or_serial();
#else
    tb_flush(cpu);
#endif
}

/*
 * Have all code translated anew, before a vCPU executes any more of it; later,
 * as the block that has written to our register is under way.
 */
static void flush_blocks(void)
{
    async_safe_run_on_cpu(first_cpu, change_blocks, RUN_ON_CPU_NULL);
}

static void allocate(void)
{
    size_t size;

    if (snapshot_coverage_cpus) {
        return;
    }
    coverage.n_cpus = current_machine->smp.max_cpus;
    size = (size_t)coverage.n_cpus << SNAPSHOT_COVERAGE_CPU_SHIFT;
    snapshot_coverage_cpus = qemu_memalign(1 << SNAPSHOT_COVERAGE_CPU_SHIFT,
                                           size);
    memset(snapshot_coverage_cpus, 0, size);
    coverage.nowhere = g_malloc0(MAP_MAX);
    snapshot_coverage_end();
}

bool snapshot_coverage_possible(Error **errp)
{
    if (!tcg_enabled()) {
        error_setg(errp, "coverage=tcg counts in the code that TCG makes: "
                   "use -accel tcg, or have the guest's program count");
        return false;
    }
    return true;
}

void snapshot_coverage_setup(uint8_t *map, uint32_t size)
{
    assert(size && size <= MAP_MAX);
    allocate();
    coverage.map = map;
    coverage.bits = 31 - clz32(size);
}

bool snapshot_coverage_available(void)
{
    return coverage.map;
}

bool snapshot_coverage_in_use(void)
{
    return coverage.n_ranges;
}

void snapshot_coverage_release(void)
{
    if (coverage.map) {
        snapshot_coverage_end();
        snapshot_coverage_clear();
        coverage.map = NULL;
    }
}

void snapshot_coverage_clear(void)
{
    if (coverage.n_ranges) {
        qatomic_set(&snapshot_coverage_on, false);
        qatomic_set(&coverage.n_ranges, 0);
        flush_blocks();
    }
}

SnapshotResult snapshot_coverage_add(vaddr start, uint64_t length, bool here,
                                     Error **errp)
{
    CodeRange *r = &coverage.ranges[coverage.n_ranges];

    if (!coverage.map) {
        error_setg(errp, "the device does not count edges: add coverage=tcg");
        return SNAPSHOT_RESULT_REFUSED;
    }
    if (here && (!current_cpu || !root_of(current_cpu))) {
        error_setg(errp, "only a vCPU of an x86 machine with paging can have "
                   "its process counted; clear bit 0 of COVER_FLAGS");
        return SNAPSHOT_RESULT_REFUSED;
    }
    if (!length || start + length < start) {
        error_setg(errp, "no range of code: %" PRIu64 " bytes at 0x%"
                   VADDR_PRIx "; it has a byte at least, and ends before the "
                   "last address", length, start);
        return SNAPSHOT_RESULT_RANGE;
    }
    if (coverage.n_ranges == SNAPSHOT_COVERAGE_RANGES) {
        error_setg(errp, "there are %d ranges of code already; name fewer and "
                   "longer ones", SNAPSHOT_COVERAGE_RANGES);
        return SNAPSHOT_RESULT_LIMIT;
    }
    *r = (CodeRange) {
        .start = start,
        .length = length,
        .before = coverage.n_ranges ? r[-1].before + r[-1].length : 0,
        .process = here,
    };
    if (here) {
        coverage.root = root_of(current_cpu);
    }
    qatomic_store_release(&coverage.n_ranges, coverage.n_ranges + 1);
    qatomic_set(&snapshot_coverage_on, true);
    trace_snapshot_coverage_range(start, length, here);
    flush_blocks();
    return SNAPSHOT_RESULT_DONE;
}

bool snapshot_coverage_find(vaddr pc, SnapshotCoverageBlock *block)
{
    unsigned int n = qatomic_load_acquire(&coverage.n_ranges);

    for (unsigned int i = 0; i < n; i++) {
        const CodeRange *r = &coverage.ranges[i];

        if (pc - r->start < r->length) {
            uint64_t at = r->before + (pc - r->start);

            /* Fibonacci hashing: the upper bits depend on all of it. */
            block->location = at * 0x9e3779b97f4a7c15ull >>
                              (64 - coverage.bits);
            block->process = r->process;
            return true;
        }
    }
    return false;
}

void snapshot_coverage_begin(void)
{
    CPUState *cpu;

    if (!coverage.n_ranges) {
        return;
    }
    make_blocks_know_addresses();       /* those of a vCPU plugged since */
    qatomic_set(&coverage.counting, true);
    CPU_FOREACH(cpu) {
        SnapshotCoverageCpu *c = state_of(cpu->cpu_index);

        c->previous = 0;
        c->rest = 0;
        c->interrupted = false;
        c->n_places = 0;
        c->in_process = is_process(root_of(cpu));
        aim(c);
    }
}

void snapshot_coverage_end(void)
{
    qatomic_set(&coverage.counting, false);
    for (unsigned int i = 0; i < coverage.n_cpus; i++) {
        aim(state_of(i));
    }
}

/*
 * Called by the vCPU itself
 */

void snapshot_coverage_set_root(CPUState *cpu, uint64_t root)
{
    SnapshotCoverageCpu *c = state_of(cpu->cpu_index);

    c->in_process = is_process(root);
    aim(c);
}

/* Page tables of the user's code that the vCPU is at, 0: not in user mode */
static uint64_t space_of(CPUState *cpu)
{
#ifdef TARGET_I386
    if ((cpu_env(cpu)->hflags & HF_CPL_MASK) == 3) {
        return extract64(root_of(cpu), 0, ROOT_BITS) & ~ROOT_IGNORED;
    }
#endif
    return 0;
}

/* Forget the place with this number. */
static void drop_place(SnapshotCoverageCpu *c, unsigned int i)
{
    c->n_places--;
    memmove(&c->places[i], &c->places[i + 1],
            (c->n_places - i) * sizeof(c->places[0]));
}

/* The interrupt is over, and nothing has happened since @place. */
static void go_on_from(SnapshotCoverageCpu *c,
                       const SnapshotCoveragePlace *place)
{
    c->interrupted = false;
    c->previous = place->previous;
    c->rest = place->rest;
    aim(c);
}

void snapshot_coverage_enter(CPUState *cpu, uint64_t pc, uint64_t sp)
{
    SnapshotCoverageCpu *c = state_of(cpu->cpu_index);

    /* One that interrupts another returns into that one. */
    if (c->interrupted) {
        return;
    }
    if (c->n_places == SNAPSHOT_COVERAGE_PLACES) {
        drop_place(c, 0);
    }
    c->places[c->n_places++] = (SnapshotCoveragePlace) {
        .pc = pc,
        .sp = sp,
        .space = space_of(cpu),
        .previous = c->previous,
        .rest = c->rest,
    };
    c->interrupted = true;
    aim(c);
}

/* Another thread goes on than was interrupted, as if that had called it. */
static void go_on_elsewhere(SnapshotCoverageCpu *c)
{
    if (c->interrupted) {
        go_on_from(c, &c->places[c->n_places - 1]);
    }
}

void snapshot_coverage_leave(CPUState *cpu, uint64_t pc, uint64_t sp)
{
    SnapshotCoverageCpu *c = state_of(cpu->cpu_index);
    uint64_t space = space_of(cpu);

    for (unsigned int i = c->n_places; i > 0; i--) {
        const SnapshotCoveragePlace *place = &c->places[i - 1];

        if (place->pc == pc && place->sp == sp && place->space == space) {
            go_on_from(c, place);
            drop_place(c, i - 1);
            return;
        }
    }
    if (space) {
        go_on_elsewhere(c);
    }
}

void snapshot_coverage_leave_call(CPUState *cpu)
{
    go_on_elsewhere(state_of(cpu->cpu_index));
}
