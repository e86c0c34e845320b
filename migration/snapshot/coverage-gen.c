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

/* Count in the byte at @counter; 255 is followed by 1. */
static void gen_count(TCGv_ptr counter)
{
    TCGv_i32 count = tcg_temp_new_i32();
    TCGv_i32 carry = tcg_temp_new_i32();

    tcg_gen_ld8u_i32(count, counter, 0);
    tcg_gen_addi_i32(count, count, 1);
    tcg_gen_shri_i32(carry, count, 8);
    tcg_gen_add_i32(count, count, carry);
    tcg_gen_st8_i32(count, counter, 0);
}

/*
 * Comes after the block's test for interrupts, and before its first
 * instruction.
 */
void snapshot_coverage_gen(const DisasContextBase *db)
{
    SnapshotCoverageBlock block;
    TCGv_ptr state, counter, edge;
    TCGv_i32 index;

    /*
     * An instruction that is executed once more by itself, for its access to a
     * device, is part of the block that it was taken from.
     */
    if ((tb_cflags(db->tb) & CF_MEMI_ONLY) ||
        !snapshot_coverage_find(db->pc_first, &block)) {
        return;
    }
    state = gen_state();
    index = tcg_temp_new_i32();
    edge = tcg_temp_new_ptr();
    counter = tcg_temp_new_ptr();
    tcg_gen_ld_i32(index, state, offsetof(SnapshotCoverageCpu, previous));
    tcg_gen_xori_i32(index, index, block.location);
    tcg_gen_ext_i32_ptr(edge, index);
    tcg_gen_ld_ptr(counter, state,
                   block.process ? offsetof(SnapshotCoverageCpu, process)
                                 : offsetof(SnapshotCoverageCpu, any));
    tcg_gen_add_ptr(counter, counter, edge);
    gen_count(counter);
    tcg_gen_st_i32(tcg_constant_i32(block.location >> 1), state,
                   offsetof(SnapshotCoverageCpu, previous));
}
