/*
 * In-process machine snapshots: what nobody may do while there is one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/blocker.h"
#include "migration/misc.h"
#include "qapi/error.h"
#include "system/runstate.h"
#include "compat-ram.h"
#include "internal.h"

static Error *blocker;  /* of migration */
static bool holds_ram;  /* no balloon may drop pages: nobody would tell us */

void snapshot_let_go(void)
{
    migrate_del_blocker(&blocker);
    if (holds_ram) {
        ram_block_discard_disable(false);
        holds_ram = false;
    }
}

bool snapshot_hold(Error **errp)
{
    int ret;
    bool ok;

    if (migration_is_running() || runstate_check(RUN_STATE_INMIGRATE)) {
        error_setg(errp, "a migration is under way; wait for its end");
        return false;
    }
    /* Look for obstacles other than ourselves. */
    snapshot_let_go();
    ok = snapshot_check_machine(errp);
    error_setg(&blocker, "there is a machine snapshot: discard it "
               "(x-snapshot-device-discard) or unplug the snapshot device");
    if (migrate_add_blocker(&blocker, ok ? errp : NULL) < 0) {
        ok = false;
    }
    ret = ram_block_discard_disable(true);
    holds_ram = ret == 0;
    if (ok && ret < 0) {
        error_setg_errno(errp, -ret, "cannot keep devices from giving guest "
                         "RAM back to the host; unplug them (virtio-mem)");
        ok = false;
    }
    return ok;
}
