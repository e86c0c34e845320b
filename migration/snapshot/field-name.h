/*
 * In-process machine snapshots: which field of a section is at an offset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_FIELD_NAME_H
#define MIGRATION_SNAPSHOT_FIELD_NAME_H

/**
 * snapshot_field_name: the field at @offset of the data of a section
 * @section: the section, described the way vmstate_save() does
 * @offset: in bytes, from the first field
 *
 * Returns a new string such as "vq[3].last_avail", or NULL if the section
 * ends before @offset.
 */
char *snapshot_field_name(const QDict *section, size_t offset);

#endif
