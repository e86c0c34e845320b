/*
 * In-process machine snapshots: the interval timer that KVM keeps.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/kvm.h"
#include "compat-ram.h"
#include "internal.h"

#if defined(CONFIG_KVM) && defined(TARGET_I386)
#include <linux/kvm.h>
#include "kvm/kvm_i386.h"

/* With this mode in channel 0, KVM has no timer running. */
#define MODE_WITHOUT_TIMER 5

bool snapshot_pit_in_kvm(void)
{
    return kvm_enabled() && kvm_pit_in_kernel();
}

void snapshot_pit_hold(void)
{
    struct kvm_pit_state2 pit;

    if (snapshot_pit_in_kvm() &&
        kvm_vm_ioctl(kvm_state, KVM_GET_PIT2, &pit) >= 0) {
        pit.channels[0].mode = MODE_WITHOUT_TIMER;
        kvm_vm_ioctl(kvm_state, KVM_SET_PIT2, &pit);
    }
}

#else

bool snapshot_pit_in_kvm(void)
{
    return false;
}

void snapshot_pit_hold(void)
{
}

#endif
