/*
 * In-process machine snapshots: what a guest has asked the machine for.
 *
 * A guest that resets itself, sleeps, panics or powers off leaves a note for
 * the main loop, which sees to it a little later.  If the machine goes back in
 * between, the guest has never asked.  The function lives in requests.c.inc, at
 * the end of system/runstate.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_REQUESTS_H
#define MIGRATION_SNAPSHOT_REQUESTS_H

/* Forget what the guest has asked for; what the user has asked for is kept. */
void snapshot_forget_requests(void);

#endif
