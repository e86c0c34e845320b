/*
 * In-process machine snapshots: the code that counts edges.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/translator.h"
#include "exec/translation-block.h"
#include "migration/snapshot-coverage.h"
#include "tcg/tcg-op-common.h"
#include "coverage.h"

#define CPU_FIELD(field) \
    ((intptr_t)offsetof(ArchCPU, parent_obj.field) - \
     (intptr_t)offsetof(ArchCPU, env))

/* The SnapshotCoverageCpu of the vCPU that executes the block */
static TCGv_ptr gen_state(void)
{
    TCGv_i32 index = tcg_temp_new_i32();
    TCGv_ptr state = tcg_temp_new_ptr();

    tcg_gen_ld_i32(index, tcg_env, CPU_FIELD(cpu_index));
    tcg_gen_shli_i32(index, index, SNAPSHOT_COVERAGE_CPU_SHIFT);
    tcg_gen_ext_i32_ptr(state, index);
    tcg_gen_addi_ptr(state, state, (intptr_t)snapshot_coverage_cpus);
    return state;
}

/* Count @n, 0 or 1, in the byte at @counter; 255 is followed by 1. */
static void gen_count(TCGv_ptr counter, TCGv_i32 n)
{
    TCGv_i32 count = tcg_temp_new_i32();
    TCGv_i32 carry = tcg_temp_new_i32();

    tcg_gen_ld8u_i32(count, counter, 0);
    tcg_gen_add_i32(count, count, n);
    tcg_gen_shri_i32(carry, count, 8);
    tcg_gen_add_i32(count, count, carry);
    tcg_gen_st8_i32(count, counter, 0);
}

/* What ->rest is when @block is the rest of the block before; not 0 */
static TCGv_i32 rest_at(const SnapshotCoverageBlock *block)
{
    return tcg_constant_i32(block->location + 1);
}

/*
 * Comes after the block's test for interrupts, and before its first
 * instruction.
 */
void snapshot_coverage_gen(const DisasContextBase *db)
{
    SnapshotCoverageBlock block;
    TCGv_ptr state, counter, edge;
    TCGv_i32 previous, rest, index, n;

    /*
     * An instruction that is executed once more by itself, for its access to a
     * device or for the code that it changes, is part of the block that it was
     * taken from.
     */
    if ((tb_cflags(db->tb) & CF_NOIRQ) ||
        !snapshot_coverage_find(db->pc_first, &block)) {
        return;
    }
    state = gen_state();
    previous = tcg_temp_new_i32();
    rest = tcg_temp_new_i32();
    index = tcg_temp_new_i32();
    n = tcg_temp_new_i32();
    edge = tcg_temp_new_ptr();
    counter = tcg_temp_new_ptr();
    tcg_gen_ld_i32(previous, state, offsetof(SnapshotCoverageCpu, previous));
    tcg_gen_ld_i32(rest, state, offsetof(SnapshotCoverageCpu, rest));
    tcg_gen_setcond_i32(TCG_COND_NE, n, rest, rest_at(&block));
    tcg_gen_xori_i32(index, previous, block.location);
    tcg_gen_ext_i32_ptr(edge, index);
    tcg_gen_ld_ptr(counter, state,
                   block.process ? offsetof(SnapshotCoverageCpu, process)
                                 : offsetof(SnapshotCoverageCpu, any));
    tcg_gen_add_ptr(counter, counter, edge);
    gen_count(counter, n);
    tcg_gen_movcond_i32(TCG_COND_EQ, previous, rest, rest_at(&block), previous,
                        tcg_constant_i32(block.location >> 1));
    tcg_gen_st_i32(previous, state, offsetof(SnapshotCoverageCpu, previous));
    tcg_gen_st_i32(tcg_constant_i32(0), state,
                   offsetof(SnapshotCoverageCpu, rest));
}

/* Comes after the last instruction of a block that was cut off after it. */
void snapshot_coverage_gen_cut(const DisasContextBase *db)
{
    SnapshotCoverageBlock block;

    if (snapshot_coverage_find(db->pc_next, &block)) {
        tcg_gen_st_i32(rest_at(&block), gen_state(),
                       offsetof(SnapshotCoverageCpu, rest));
    }
}
