/*
 * In-process machine snapshots: the monitor's commands wait for ours.
 *
 * A command that stops the machine runs bottom halves of the I/O handlers'
 * context, for some devices have theirs there.  So has QMP: "cont" must not be
 * carried out in the middle of a restore, with the machine at rest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_COMMANDS_H
#define MIGRATION_SNAPSHOT_COMMANDS_H

/*
 * Has QMP to try a command again a little later?  NULL: never.  It is a
 * pointer because programs other than the emulator have QMP, too.
 */
extern bool (*snapshot_holds_commands)(void);

#endif
