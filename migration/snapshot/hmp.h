/*
 * In-process machine snapshots: HMP commands, for hmp-commands*.hx.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_HMP_H
#define MIGRATION_SNAPSHOT_HMP_H

#include "monitor/monitor.h"

void hmp_snapshot_device_save(Monitor *mon, const QDict *qdict);
void hmp_snapshot_device_restore(Monitor *mon, const QDict *qdict);
void hmp_snapshot_device_discard(Monitor *mon, const QDict *qdict);
void hmp_snapshot_device_push(Monitor *mon, const QDict *qdict);
void hmp_snapshot_device_pop(Monitor *mon, const QDict *qdict);
void hmp_snapshot_device_exclude(Monitor *mon, const QDict *qdict);
void hmp_snapshot_device_include_all(Monitor *mon, const QDict *qdict);
void hmp_info_snapshot_device(Monitor *mon, const QDict *qdict);

#endif
