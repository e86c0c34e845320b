/*
 * In-process machine snapshots: what cannot be restored is refused by name.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "net/net.h"
#include "net/vhost_net.h"
#include "qapi/error.h"
#include "system/replay.h"
#include "system/system.h"
#include "migration/migration.h"
#include "compat-ram.h"
#include "internal.h"

static bool check_mode(Error **errp)
{
    if (replay_mode != REPLAY_MODE_NONE) {
        error_setg(errp, "record/replay keeps its own history, which a "
                   "restore would break; start without rr=");
        return false;
    }
    if (rtc_clock != QEMU_CLOCK_VIRTUAL) {
        error_setg(errp, "the real-time clock follows a clock of the host, "
                   "which cannot go back; start with -rtc clock=vm");
        return false;
    }
    return !migration_is_blocked(errp);
}

static void check_nic(NICState *nic, void *opaque)
{
    Error **errp = opaque;
    NetClientState *peer = qemu_get_queue(nic)->peer;

    if (peer && get_vhost_net(peer) && !*errp) {
        error_setg(errp, "network back end '%s' uses vhost, which writes to "
                   "RAM from outside; use vhost=off", peer->name);
    }
}

static int check_vhost(Object *obj, void *opaque)
{
    const char *type = object_get_typename(obj);
    Error **errp = opaque;

    if (object_dynamic_cast(obj, TYPE_DEVICE) &&
        (g_str_has_prefix(type, "vhost-") || strstr(type, "vdpa"))) {
        error_setg(errp, "device '%s' writes to RAM from outside of QEMU; "
                   "unplug it", type);
        return 1;
    }
    return 0;
}

/*
 * What a TPM keeps can be had as a migration gets it, but not all of it can be
 * put back: its clock, which a guest can read and which signatures contain,
 * goes on.
 */
static int check_tpm(Object *obj, void *opaque)
{
    Error **errp = opaque;

    if (object_dynamic_cast(obj, "tpm-if")) {
        error_setg(errp, "device '%s' is the interface of a TPM outside of "
                   "QEMU, whose clock cannot go back; unplug it",
                   object_get_typename(obj));
        return 1;
    }
    return 0;
}

static bool check_memory(Error **errp)
{
    Error *err = NULL;

    if (object_child_foreach_recursive(object_get_root(), check_vhost, errp)) {
        return false;
    }

    if (ram_block_discard_is_disabled()) {
        error_setg(errp, "some of the guest's RAM is pinned for a host "
                   "device (VFIO or the like); unplug that device");
        return false;
    }
    if (ram_block_discard_is_required()) {
        error_setg(errp, "a device such as virtio-mem gives RAM back to the "
                   "host while the guest runs; unplug that device");
        return false;
    }
    qemu_foreach_nic(check_nic, &err);
    error_propagate(errp, err);
    return !err;
}

/*
 * Devices without a section of their own.  Each was read and found to keep
 * nothing that a guest can change, or to be saved as part of another device.
 */
static const char *const no_section_needed[] = {
    /* saved by their parent, bus or controller, or as RAM */
    "base-xhci", "esp", "floppy", "ide-device", "pc-dimm", "serial",
    "virtio-mmio", "virtio-pci", "virtio-serial-port",
    /* nothing to save: what is written to them has an effect at once */
    "arm-gicv2m", "isa-debug-exit", "isa-debugcon", "isabus-bridge",
    "platform-bus-device", "pvpanic", "vmport",
};

/* Devices whose descriptions do not fit them: to save them ends QEMU. */
static const char *const wrong_section[] = {
    "pci-serial-2x", "vmbus-bridge",
};

static bool is_one_of(Object *obj, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (object_dynamic_cast(obj, names[i])) {
            return true;
        }
    }
    return false;
}

static bool can_be_saved(DeviceState *dev)
{
    Object *obj = OBJECT(dev);

    if (is_one_of(obj, wrong_section, ARRAY_SIZE(wrong_section))) {
        return false;
    }
    return snapshot_devices_covers(dev) ||
           is_one_of(obj, no_section_needed, ARRAY_SIZE(no_section_needed));
}

static int check_device(Object *obj, void *opaque)
{
    DeviceState *dev = (DeviceState *)object_dynamic_cast(obj, TYPE_DEVICE);
    GString *names = opaque;

    if (dev && dev->realized && !can_be_saved(dev)) {
        g_string_append_printf(names, "%s'%s' (%s)", names->len ? ", " : "",
                               dev->id ? dev->id : dev->canonical_path,
                               object_get_typename(obj));
    }
    return 0;
}

static bool check_devices(Error **errp)
{
    g_autoptr(GString) names = g_string_new("");

    object_child_foreach_recursive(object_get_root(), check_device, names);
    if (names->len) {
        error_setg(errp, "these devices do not save their state, unplug "
                   "them: %s", names->str);
        return false;
    }
    return true;
}

bool snapshot_check_machine(Error **errp)
{
    return check_mode(errp) && check_devices(errp) &&
           snapshot_disks_possible(errp) && check_memory(errp) &&
           !object_child_foreach_recursive(object_get_root(), check_tpm, errp);
}
