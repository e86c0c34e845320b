/*
 * In-process machine snapshots: RAM that devices write to by pointers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "hw/ide/ahci-internal.h"
#include "hw/ide/ahci-pci.h"
#include "hw/ide/ahci-sysbus.h"
#include "compat-ram.h"
#include "dma-held.h"

/* Lengths of what a port has mapped, by the AHCI specification, 4.2 */
#define COMMAND_LIST 1024
#define RECEIVED_FIS 256

static GPtrArray *controllers;  /* of AHCIState */

static int find(Object *obj, void *unused)
{
    if (object_dynamic_cast(obj, TYPE_ICH9_AHCI)) {
        g_ptr_array_add(controllers, &ICH9_AHCI(obj)->ahci);
    } else if (object_dynamic_cast(obj, TYPE_SYSBUS_AHCI)) {
        g_ptr_array_add(controllers, &SYSBUS_AHCI(obj)->ahci);
    }
    return 0;
}

void snapshot_dma_held_find(void)
{
    if (controllers) {
        g_ptr_array_set_size(controllers, 0);
    } else {
        controllers = g_ptr_array_new();
    }
    object_child_foreach_recursive(object_get_root(), find, NULL);
}

static void mark(const void *host, hwaddr len)
{
    ram_addr_t offset;
    MemoryRegion *mr;

    if (!host) {
        return;
    }
    RCU_READ_LOCK_GUARD();
    mr = memory_region_from_host((void *)host, &offset);
    if (mr) {       /* else it is a copy, which is written back by itself */
        memory_region_set_dirty(mr, offset, len);
    }
}

void snapshot_dma_held_mark(void)
{
    for (guint i = 0; i < controllers->len; i++) {
        const AHCIState *s = g_ptr_array_index(controllers, i);

        for (uint32_t port = 0; port < s->ports; port++) {
            mark(s->dev[port].lst, COMMAND_LIST);
            mark(s->dev[port].res_fis, RECEIVED_FIS);
        }
    }
}
