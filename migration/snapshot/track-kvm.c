/*
 * In-process machine snapshots: page tracking under KVM.
 *
 * KVM records the writes of vCPUs in a log (a bitmap for each memory slot,
 * write protection is renewed when bits are cleared) or in rings (one for
 * each vCPU, "-accel kvm,dirty-ring-size=N").  QEMU's memory listeners move
 * both into the dirty bitmap; they differ in what that takes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "system/kvm.h"
#include "compat-ram.h"
#include "internal.h"
#ifdef CONFIG_KVM
#include <linux/kvm.h>
#endif

#if defined(CONFIG_KVM) && defined(TARGET_I386)
/*
 * The processor may hold translations made from page tables that were just
 * put back, and KVM flushes them only when it sees a paging register change.
 * So let it see one: CR0.WP over and back, which is legal in every mode.
 */
static void flush_guest_tlb(CPUState *cpu)
{
    struct kvm_sregs sregs;

    if (kvm_vcpu_ioctl(cpu, KVM_GET_SREGS, &sregs) < 0 ||
        !(sregs.cr0 & CR0_PG_MASK)) {
        return;     /* without paging there are no translations */
    }
    sregs.cr0 ^= CR0_WP_MASK;
    kvm_vcpu_ioctl(cpu, KVM_SET_SREGS, &sregs);
    sregs.cr0 ^= CR0_WP_MASK;
    kvm_vcpu_ioctl(cpu, KVM_SET_SREGS, &sregs);
}

/* Every vCPU is at rest, so that any thread may speak for it. */
static bool kvm_flush(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        flush_guest_tlb(cpu);
    }
    return false;
}

#define GUEST_TLB_CAN_BE_FLUSHED true
#else
static bool kvm_flush(void)
{
    g_assert_not_reached();
}

#define GUEST_TLB_CAN_BE_FLUSHED false
#endif

static void kvm_saved(const SnapshotRam *ram, bool keep)
{
    kvm_flush();
}

static void kvm_sync(void)
{
    memory_global_dirty_log_sync(false);
}

/* With KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 only this protects pages again. */
static void kvm_rearm(SnapshotBlock *block, size_t offset, size_t len)
{
    memory_region_clear_dirty_bitmap(block->mr, offset, len);
}

/* One KVM_GET_DIRTY_LOG for each slot */
static bool kvm_log_usable(void)
{
    return kvm_enabled() && GUEST_TLB_CAN_BE_FLUSHED &&
           !kvm_dirty_ring_enabled();
}

const SnapshotTracker snapshot_track_kvm_log = {
    .name = "kvm-dirty-log",
    .usable = kvm_log_usable,
    .sync = kvm_sync,
    .rearm = kvm_rearm,
    .flush = kvm_flush,
    .saved = kvm_saved,
};

/* Reaping a ring needs every vCPU out of the kernel: all are at rest here. */
static bool kvm_ring_usable(void)
{
    return kvm_enabled() && GUEST_TLB_CAN_BE_FLUSHED &&
           kvm_dirty_ring_enabled();
}

const SnapshotTracker snapshot_track_kvm_ring = {
    .name = "kvm-dirty-ring",
    .usable = kvm_ring_usable,
    .sync = kvm_sync,
    .rearm = kvm_rearm,
    .flush = kvm_flush,
    .saved = kvm_saved,
};
