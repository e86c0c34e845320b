/*
 * In-process machine snapshots: the registers of vCPUs that KVM keeps, see
 * vcpus.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "system/kvm.h"
#include "compat-ram.h"
#include "vcpus.h"
#include "trace.h"

#if defined(CONFIG_KVM) && defined(TARGET_I386)
#include <linux/kvm.h>
#include "hw/xen/xen.h"
#include "system/kvm_int.h"

/*
 * The structures of KVM's interface that hold registers, in the order in
 * which they are written.  To write REGS clears a pending exception, so EVENTS
 * come later; LAPIC comes after SREGS, which have its base address.
 */
typedef enum Part {
    PART_SREGS,
    PART_REGS,
    PART_XSAVE,
    PART_XCRS,
    PART_DEBUGREGS,
    PART_MSRS,
    PART_LAPIC,
    PART_EVENTS,
    PART_MP_STATE,
    PART__MAX,
} Part;

typedef struct Vcpu {
    CPUState *cpu;
    void *saved[PART__MAX];     /* NULL: this machine has none of it */
    uint64_t tsc_offset;        /* of the guest's counter to the host's */
    uint64_t tsc_deadline;      /* of the local APIC's timer, 0: none */
} Vcpu;

struct SnapshotVcpus {
    GArray *vcpus;              /* of Vcpu */
    uint64_t host_tsc;          /* in guest ticks, when the offsets were read */
    bool has_deadline;
    size_t size[PART__MAX];     /* bytes of each structure */
    void *now;                  /* room for the largest of them */
    struct kvm_msrs *changed;   /* MSRs to be written */
};

static const struct {
    unsigned long get, set;
    size_t size;                /* 0: found out at the save */
} parts[PART__MAX] = {
    [PART_SREGS] = { KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs) },
    [PART_REGS] = { KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs) },
    [PART_XSAVE] = { KVM_GET_XSAVE, KVM_SET_XSAVE, 0 },
    [PART_XCRS] = { KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs) },
    [PART_DEBUGREGS] = { KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
                         sizeof(struct kvm_debugregs) },
    [PART_MSRS] = { KVM_GET_MSRS, KVM_SET_MSRS, 0 },
    [PART_LAPIC] = { KVM_GET_LAPIC, KVM_SET_LAPIC,
                     sizeof(struct kvm_lapic_state) },
    [PART_EVENTS] = { KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
                      sizeof(struct kvm_vcpu_events) },
    [PART_MP_STATE] = { KVM_GET_MP_STATE, KVM_SET_MP_STATE,
                        sizeof(struct kvm_mp_state) },
};

/*
 * MSRs that are left out of PART_MSRS: the time stamp counter never stands
 * still, the deadline depends on it, and some of Hyper-V's are clocks (with
 * Hyper-V features on, vmstate is used).
 */
static bool msr_is_left_out(uint32_t index)
{
    return index == MSR_IA32_TSC || index == MSR_IA32_TSCDEADLINE ||
           (index >= 0x40000000 && index < 0x40000200);
}

/* Writing one of these makes KVM write to guest RAM. */
static bool msr_touches_ram(uint32_t index)
{
    return index == MSR_KVM_WALL_CLOCK || index == MSR_KVM_SYSTEM_TIME ||
           (index >= 0x4b564d00 && index < 0x4b564e00);
}

static size_t msrs_size(uint32_t count)
{
    return sizeof(struct kvm_msrs) + count * sizeof(struct kvm_msr_entry);
}

static bool read_part(const SnapshotVcpus *v, CPUState *cpu, Part part,
                      void *to)
{
    unsigned long get = parts[part].get;
    struct kvm_msrs *msrs = to;
    int ret;

    if (part == PART_XSAVE && v->size[part] > sizeof(struct kvm_xsave)) {
        get = KVM_GET_XSAVE2;
    }
    ret = kvm_vcpu_ioctl(cpu, get, to);
    return part == PART_MSRS ? ret == msrs->nmsrs : ret >= 0;
}

static bool get_msr(CPUState *cpu, uint32_t index, uint64_t *value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msr = { .head.nmsrs = 1, .entry.index = index };

    if (kvm_vcpu_ioctl(cpu, KVM_GET_MSRS, &msr) != 1) {
        return false;
    }
    *value = msr.entry.data;
    return true;
}

static bool set_msr(CPUState *cpu, uint32_t index, uint64_t value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msr = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

    return kvm_vcpu_ioctl(cpu, KVM_SET_MSRS, &msr) == 1;
}

static bool tsc_offset(CPUState *cpu, unsigned long access, uint64_t *offset)
{
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL,
        .attr = KVM_VCPU_TSC_OFFSET,
        .addr = (uintptr_t)offset,
    };

    return kvm_vcpu_ioctl(cpu, access, &attr) >= 0;
}

/* The host's counter in guest ticks, as the vCPU @cpu has it */
static bool host_tsc(CPUState *cpu, uint64_t *ticks)
{
    uint64_t offset;

    if (!tsc_offset(cpu, KVM_GET_DEVICE_ATTR, &offset) ||
        !get_msr(cpu, MSR_IA32_TSC, ticks)) {
        return false;
    }
    *ticks -= offset;
    return true;
}

/* All MSRs that @cpu has, of those that KVM knows; NULL on failure */
static struct kvm_msrs *list_msrs(CPUState *cpu)
{
    struct kvm_msr_list count = { 0 };
    g_autofree struct kvm_msr_list *list = NULL;
    struct kvm_msrs *msrs;

    kvm_ioctl(kvm_state, KVM_GET_MSR_INDEX_LIST, &count);
    list = g_malloc0(sizeof(*list) + count.nmsrs * sizeof(list->indices[0]));
    list->nmsrs = count.nmsrs;
    if (kvm_ioctl(kvm_state, KVM_GET_MSR_INDEX_LIST, list) < 0) {
        return NULL;
    }
    msrs = g_malloc0(msrs_size(list->nmsrs));
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        uint32_t index = list->indices[i];
        uint64_t value;

        if (!msr_is_left_out(index) && get_msr(cpu, index, &value)) {
            msrs->entries[msrs->nmsrs++] = (struct kvm_msr_entry) {
                .index = index,
                .data = value,
            };
        }
    }
    return msrs;
}

/* State of a vCPU that is none of the parts */
static bool has_other_state(CPUState *cpu)
{
    X86CPU *x86 = X86_CPU(cpu);
    struct kvm_nested_state *nested = x86->env.nested_state;

    return x86->hyperv_features || x86->hyperv_passthrough ||
           xen_mode == XEN_EMULATE ||
           (nested && nested->size > sizeof(*nested)) ||
           (x86->env.hflags & HF_GUEST_MASK);
}

/*
 * KVM gets what QEMU may have changed in its copy of the registers.  QEMU's
 * own accessor does that, too, when the vCPU is run.
 */
static bool write_out(CPUState *cpu)
{
    if (cpu->vcpu_dirty) {
        if (kvm_arch_put_registers(cpu, KVM_PUT_RUNTIME_STATE, NULL) < 0) {
            return false;
        }
        cpu->vcpu_dirty = false;
    }
    return true;
}

static bool save_vcpu(SnapshotVcpus *v, Vcpu *vcpu)
{
    CPUState *cpu = vcpu->cpu;

    if (!write_out(cpu)) {
        return false;
    }
    vcpu->saved[PART_MSRS] = list_msrs(cpu);
    if (!vcpu->saved[PART_MSRS]) {
        return false;
    }
    v->size[PART_MSRS] = MAX(v->size[PART_MSRS], msrs_size(
        ((struct kvm_msrs *)vcpu->saved[PART_MSRS])->nmsrs));
    /* From the end: to read MP_STATE may change registers. */
    for (int i = PART__MAX - 1; i >= 0; i--) {
        if (i == PART_LAPIC && !kvm_irqchip_in_kernel()) {
            continue;
        }
        if (i != PART_MSRS) {
            vcpu->saved[i] = g_malloc0(v->size[i]);
        }
        if (!read_part(v, cpu, i, vcpu->saved[i])) {
            return false;
        }
    }
    if (!get_msr(cpu, MSR_IA32_TSCDEADLINE, &vcpu->tsc_deadline)) {
        v->has_deadline = false;
    }
    return tsc_offset(cpu, KVM_GET_DEVICE_ATTR, &vcpu->tsc_offset);
}

static void find_sizes(SnapshotVcpus *v)
{
    int xsave = kvm_vm_check_extension(kvm_state, KVM_CAP_XSAVE2);

    for (int i = 0; i < PART__MAX; i++) {
        v->size[i] = parts[i].size;
    }
    v->size[PART_XSAVE] = MAX(xsave, (int)sizeof(struct kvm_xsave));
    v->has_deadline = kvm_irqchip_in_kernel();
}

SnapshotVcpus *snapshot_vcpus_save(void)
{
    SnapshotVcpus *v;
    size_t largest = 0;
    CPUState *cpu;
    bool ok = true;

    if (!kvm_enabled()) {
        return NULL;
    }
    v = g_new0(SnapshotVcpus, 1);
    v->vcpus = g_array_new(false, false, sizeof(Vcpu));
    find_sizes(v);
    CPU_FOREACH(cpu) {
        Vcpu vcpu = { .cpu = cpu };

        ok = ok && !has_other_state(cpu) && save_vcpu(v, &vcpu);
        g_array_append_val(v->vcpus, vcpu);
    }
    if (!ok || !host_tsc(first_cpu, &v->host_tsc)) {
        snapshot_vcpus_free(v);
        return NULL;
    }
    for (int i = 0; i < PART__MAX; i++) {
        largest = MAX(largest, v->size[i]);
    }
    v->now = g_malloc0(largest);
    v->changed = g_malloc0(v->size[PART_MSRS]);
    return v;
}

/* Write the MSRs of @saved that are different in @now. */
static bool restore_msrs(SnapshotVcpus *v, CPUState *cpu,
                         const struct kvm_msrs *saved,
                         const struct kvm_msrs *now, bool *touched_ram)
{
    struct kvm_msrs *changed = v->changed;

    changed->nmsrs = 0;
    for (uint32_t i = 0; i < saved->nmsrs; i++) {
        if (saved->entries[i].data != now->entries[i].data) {
            changed->entries[changed->nmsrs++] = saved->entries[i];
            *touched_ram |= msr_touches_ram(saved->entries[i].index);
            trace_snapshot_msr(cpu->cpu_index, saved->entries[i].index,
                               now->entries[i].data, saved->entries[i].data);
        }
    }
    return !changed->nmsrs ||
           kvm_vcpu_ioctl(cpu, KVM_SET_MSRS, changed) == changed->nmsrs;
}

static bool restore_part(SnapshotVcpus *v, Vcpu *vcpu, Part part,
                         bool *touched_ram)
{
    void *saved = vcpu->saved[part];

    if (!saved) {
        return true;
    }
    if (part == PART_MSRS) {
        memcpy(v->now, saved, msrs_size(((struct kvm_msrs *)saved)->nmsrs));
    }
    /* REGS are different each time: the instruction pointer is in them. */
    if (part != PART_REGS) {
        if (!read_part(v, vcpu->cpu, part, v->now)) {
            return false;
        }
        if (part == PART_MSRS) {
            return restore_msrs(v, vcpu->cpu, saved, v->now, touched_ram);
        }
        if (!memcmp(v->now, saved, v->size[part])) {
            return true;
        }
    }
    trace_snapshot_vcpu_part(vcpu->cpu->cpu_index, part);
    return kvm_vcpu_ioctl(vcpu->cpu, parts[part].set, saved) >= 0;
}

/* A nested guest that was not there at the save: vmstate knows what to do. */
static bool has_nested_state(CPUState *cpu)
{
    struct kvm_nested_state nested = { .size = sizeof(nested) };

    return X86_CPU(cpu)->env.nested_state &&
           (kvm_vcpu_ioctl(cpu, KVM_GET_NESTED_STATE, &nested) < 0 ||
            nested.flags & ~KVM_STATE_NESTED_GIF_SET);
}

static bool restore_vcpu(SnapshotVcpus *v, Vcpu *vcpu, bool *touched_ram)
{
    CPUState *cpu = vcpu->cpu;

    /*
     * Pending INIT and start-up signals are taken when this is read, which
     * would change registers that are right already.
     */
    if (has_nested_state(cpu) ||
        !read_part(v, cpu, PART_MP_STATE, v->now)) {
        return false;
    }
    for (int i = 0; i < PART__MAX; i++) {
        if (!restore_part(v, vcpu, i, touched_ram)) {
            return false;
        }
    }
    cpu->vcpu_dirty = false;
    return true;
}

bool snapshot_vcpus_restore(SnapshotVcpus *v, bool *touched_ram)
{
    for (guint i = 0; i < v->vcpus->len; i++) {
        if (!restore_vcpu(v, &g_array_index(v->vcpus, Vcpu, i), touched_ram)) {
            return false;
        }
    }
    return true;
}

/*
 * All counters are moved by the time since the save, so that they are as far
 * apart as they were.  The counter itself is not written: KVM takes a value
 * that is near the one of another vCPU for an attempt to bring both together.
 */
void snapshot_vcpus_start(SnapshotVcpus *v)
{
    uint64_t now, deadline, offset;

    if (!host_tsc(first_cpu, &now)) {
        return;
    }
    for (guint i = 0; i < v->vcpus->len; i++) {
        const Vcpu *vcpu = &g_array_index(v->vcpus, Vcpu, i);

        offset = vcpu->tsc_offset - (now - v->host_tsc);
        tsc_offset(vcpu->cpu, KVM_SET_DEVICE_ATTR, &offset);
        if (v->has_deadline &&
            get_msr(vcpu->cpu, MSR_IA32_TSCDEADLINE, &deadline) &&
            (deadline || vcpu->tsc_deadline)) {
            set_msr(vcpu->cpu, MSR_IA32_TSCDEADLINE, vcpu->tsc_deadline);
        }
    }
}

void snapshot_vcpus_keep(const SnapshotVcpus *v)
{
    for (guint i = 0; i < v->vcpus->len; i++) {
        g_array_index(v->vcpus, Vcpu, i).cpu->vcpu_dirty = false;
    }
}

void snapshot_vcpus_free(SnapshotVcpus *v)
{
    if (!v) {
        return;
    }
    for (guint i = 0; i < v->vcpus->len; i++) {
        for (int part = 0; part < PART__MAX; part++) {
            g_free(g_array_index(v->vcpus, Vcpu, i).saved[part]);
        }
    }
    g_array_unref(v->vcpus);
    g_free(v->now);
    g_free(v->changed);
    g_free(v);
}

#else

SnapshotVcpus *snapshot_vcpus_save(void)
{
    return NULL;
}

bool snapshot_vcpus_restore(SnapshotVcpus *vcpus, bool *touched_ram)
{
    g_assert_not_reached();
}

void snapshot_vcpus_start(SnapshotVcpus *vcpus)
{
    g_assert_not_reached();
}

void snapshot_vcpus_keep(const SnapshotVcpus *vcpus)
{
    g_assert_not_reached();
}

void snapshot_vcpus_free(SnapshotVcpus *vcpus)
{
    assert(!vcpus);
}

#endif
