/*
 * In-process machine snapshots: the registers of vCPUs that KVM keeps.
 *
 * vmstate code reads all registers of a vCPU from KVM, about ten system calls
 * and a hundred MSRs, and writes all of them.  Most of them have not changed
 * since the save.  So KVM's own structures are kept as they were at the save;
 * a restore reads them again, compares, and writes those that differ.  What
 * KVM has is then right, and QEMU's copy of it (CPUX86State) is out of date,
 * as it always is while a vCPU runs.
 *
 * The other way, by QEMU's vmstate code, stays as the reference: it is taken
 * where this one cannot be, or if it is asked for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_VCPUS_H
#define MIGRATION_SNAPSHOT_VCPUS_H

typedef struct SnapshotVcpus SnapshotVcpus;

/*
 * Note the registers of all vCPUs.  Returns NULL where KVM does not keep them,
 * or has state of them that is not handled here (Xen, Hyper-V, a nested
 * guest).
 */
SnapshotVcpus *snapshot_vcpus_save(void);

/*
 * Write back what differs.  On failure some is written, and the caller has to
 * do it by way of vmstate.  @touched_ram is set if KVM has written to guest RAM
 * meanwhile, as it does for the registers of paravirtual features.
 */
bool snapshot_vcpus_restore(SnapshotVcpus *vcpus, bool *touched_ram);

/*
 * Time stamp counters, and the timers that depend on them, go on from where
 * they were at the save.
 */
void snapshot_vcpus_start(SnapshotVcpus *vcpus);

/*
 * What QEMU has of the registers is a copy to look at: KVM does not get it.
 * For use after vmstate code has read them, when KVM has the right ones.
 */
void snapshot_vcpus_keep(const SnapshotVcpus *vcpus);

void snapshot_vcpus_free(SnapshotVcpus *vcpus);

#endif
