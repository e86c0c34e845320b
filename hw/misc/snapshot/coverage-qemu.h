/*
 * Device "snapshot": edges of QEMU's own code in the coverage map.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_COVERAGE_QEMU_H
#define HW_MISC_SNAPSHOT_COVERAGE_QEMU_H

/*
 * Is there code in this program that calls us?  Returns false and sets @errp
 * if not.
 */
bool snapshot_coverage_qemu_possible(Error **errp);

/*
 * Use the @size bytes at @map, which belong to the caller and stay until this
 * is called with NULL.
 */
void snapshot_coverage_qemu_setup(uint8_t *map, uint32_t size);

/* Has snapshot_coverage_qemu_setup() been called? */
bool snapshot_coverage_qemu_available(void);

/* A run begins: count.  BQL held, as for all of these. */
void snapshot_coverage_qemu_begin(void);

/* A run has ended: count no more. */
void snapshot_coverage_qemu_end(void);

/* What the compiler's code calls at the beginning of a basic block */
void __sanitizer_cov_trace_pc(void);

#endif
