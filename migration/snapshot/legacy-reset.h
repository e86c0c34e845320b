/*
 * In-process machine snapshots: reset of one object that registered a handler.
 *
 * Some device models have no reset of their own but a handler that a reset of
 * the whole machine calls.  This calls it for one of them.  The function lives
 * in legacy-reset.c.inc, at the end of hw/core/reset.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_LEGACY_RESET_H
#define MIGRATION_SNAPSHOT_LEGACY_RESET_H

/* Call every handler that was registered for @opaque. */
void snapshot_legacy_reset(const void *opaque);

#endif
