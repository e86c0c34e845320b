/*
 * Guest interface of the "snapshot" PCI device: identity and registers.
 *
 * This header is shared by the device, by the guest library and by bare-metal
 * code, so it holds preprocessor constants only and includes nothing.
 * docs/specs/snapshot.rst explains each register.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_REGS_H
#define HW_MISC_SNAPSHOT_REGS_H

#define SNAPSHOT_PCI_VENDOR_ID  0x1234
#define SNAPSHOT_PCI_DEVICE_ID  0xf987
#define SNAPSHOT_PCI_REVISION   0x10

#define SNAPSHOT_BAR            0
#define SNAPSHOT_BAR_SIZE       0x100000

#define SNAPSHOT_ABI_VERSION    1

/* Registers of BAR 0: offset in bytes, little endian */
#define SNAPSHOT_REG_COMMAND    0x00    /* 32, write: SNAPSHOT_CMD_... */
#define SNAPSHOT_REG_RESULT     0x00    /* 32, read: SNAPSHOT_RES_... */
#define SNAPSHOT_REG_ABI        0x04    /* 32, SNAPSHOT_ABI_VERSION */
#define SNAPSHOT_REG_RESTORES   0x08    /* 32, restores since the save */
#define SNAPSHOT_REG_STATUS     0x0c    /* 32, SNAPSHOT_STATUS_... */
#define SNAPSHOT_REG_ENGINE     0x10    /* 32, SNAPSHOT_ENGINE_... */
#define SNAPSHOT_REG_VERIFY     0x14    /* 32, restores that differed */
#define SNAPSHOT_REG_PAGES      0x18    /* 64, pages put back, last restore */
#define SNAPSHOT_REG_PAGES_SUM  0x20    /* 64, pages put back since the save */
#define SNAPSHOT_REG_NS         0x28    /* 64, host ns of the last restore */
#define SNAPSHOT_REG_RAM_BYTES  0x30    /* 64, bytes of RAM in the snapshot */
#define SNAPSHOT_REG_REJECTED   0x38    /* 32, commands that did nothing */
#define SNAPSHOT_REG_LEVELS     0x3c    /* 32, saved instants, one on another */
#define SNAPSHOT_REG_START      0x40    /* 64, read and write: for EXCLUDE, */
#define SNAPSHOT_REG_LENGTH     0x48    /* 64, COVER: address and bytes */
#define SNAPSHOT_REG_TIMER      0x50    /* 32, us until a timer is due */

/* Runs; see "Runs" in the specification */
#define SNAPSHOT_REG_HOST       0x80    /* 32, SNAPSHOT_HOST_... */
#define SNAPSHOT_REG_RUN_STATUS 0x84    /* 32, rw: of the run that ends */
#define SNAPSHOT_REG_TEXT_SIZE  0x88    /* 32, rw: bytes of text about it */
#define SNAPSHOT_REG_MAP_USED   0x8c    /* 32, rw: bytes of the map in use */
#define SNAPSHOT_REG_RUNS       0x90    /* 64, runs that have ended */
#define SNAPSHOT_REG_COVERAGE   0x98    /* 32, SNAPSHOT_COVERAGE_... */
#define SNAPSHOT_REG_COVER_FLAGS 0x9c   /* 32, rw: for COVER */

/* SNAPSHOT_REG_COMMAND */
#define SNAPSHOT_CMD_SAVE       0x101
#define SNAPSHOT_CMD_RESTORE    0x102
#define SNAPSHOT_CMD_PUSH       0x103
#define SNAPSHOT_CMD_POP        0x104
#define SNAPSHOT_CMD_DISCARD    0x105
#define SNAPSHOT_CMD_EXCLUDE    0x106
#define SNAPSHOT_CMD_INCLUDE    0x107
#define SNAPSHOT_CMD_NEXT       0x110   /* get the next input */
#define SNAPSHOT_CMD_DONE       0x111   /* the run has ended */
#define SNAPSHOT_CMD_CRASH      0x112   /* the run has found a bug */
#define SNAPSHOT_CMD_COVER      0x113   /* count edges in START, LENGTH, too */
#define SNAPSHOT_CMD_UNCOVER    0x114   /* count edges nowhere */

/* SNAPSHOT_REG_RESULT */
#define SNAPSHOT_RES_DONE       0       /* the last command succeeded */
#define SNAPSHOT_RES_PENDING    1       /* accepted, not carried out yet */
#define SNAPSHOT_RES_UNKNOWN    2       /* no such command */
#define SNAPSHOT_RES_NONE       3       /* there is no snapshot to restore */
#define SNAPSHOT_RES_BUSY       4       /* another command was pending */
#define SNAPSHOT_RES_REFUSED    5       /* the machine cannot be restored */
#define SNAPSHOT_RES_NOMEM      6       /* host memory or file space ran out */
#define SNAPSHOT_RES_IO         7       /* host file error */
#define SNAPSHOT_RES_DEVICE     8       /* a device failed to save or load */
#define SNAPSHOT_RES_VERIFY     9       /* restored state differs (verify=on) */
#define SNAPSHOT_RES_RANGE      10      /* EXCLUDE: not whole pages of RAM; */
                                        /* COVER: no range of addresses */
#define SNAPSHOT_RES_LIMIT      11      /* too many levels or ranges */

/* SNAPSHOT_REG_STATUS */
#define SNAPSHOT_STATUS_ARMED   (1u << 0)   /* there is a snapshot */
#define SNAPSHOT_STATUS_PENDING (1u << 1)   /* a command is pending */
#define SNAPSHOT_STATUS_VERIFY  (1u << 2)   /* every restore is verified */

/* SNAPSHOT_REG_ENGINE */
#define SNAPSHOT_ENGINE_NONE    0
#define SNAPSHOT_ENGINE_COPY    1
#define SNAPSHOT_ENGINE_REMAP   2

/* SNAPSHOT_REG_RUN_STATUS, with DONE: the guest cannot do another run */
#define SNAPSHOT_RUN_LAST       (1u << 31)

/* SNAPSHOT_REG_HOST: who gives inputs */
#define SNAPSHOT_HOST_NONE      0
#define SNAPSHOT_HOST_AFL       1
#define SNAPSHOT_HOST_FILES     2

/* SNAPSHOT_REG_COVERAGE: what the device can count by itself */
#define SNAPSHOT_COVERAGE_NONE  0
#define SNAPSHOT_COVERAGE_TCG   1       /* edges of translated code */
#define SNAPSHOT_COVERAGE_QEMU  2       /* edges of QEMU's own code */

/* SNAPSHOT_REG_COVER_FLAGS: only with the page tables that are in use now */
#define SNAPSHOT_COVER_HERE     (1u << 0)

/*
 * BAR 2: memory shared with the host, which restores leave alone.  It begins
 * with this header: offset in bytes of each field, little endian.  Offsets and
 * sizes in it are in bytes, from the start of the BAR.
 */
#define SNAPSHOT_SHARED_BAR     2
#define SNAPSHOT_SHARED_MAGIC       0x00    /* 32, SNAPSHOT_SHARED_MAGIC_IS */
#define SNAPSHOT_SHARED_VERSION     0x04    /* 32, SNAPSHOT_SHARED_VERSION_IS */
#define SNAPSHOT_SHARED_INPUT       0x08    /* 32, offset of the input: its */
                                            /* length, 32 bits, and the bytes */
#define SNAPSHOT_SHARED_INPUT_MAX   0x0c    /* 32, how long it can be */
#define SNAPSHOT_SHARED_MAP         0x10    /* 32, offset of the coverage map */
#define SNAPSHOT_SHARED_MAP_SIZE    0x14    /* 32 */
#define SNAPSHOT_SHARED_TEXT        0x18    /* 32, offset of the text area */
#define SNAPSHOT_SHARED_TEXT_SIZE   0x1c    /* 32 */
#define SNAPSHOT_SHARED_LOG         0x20    /* 32, offset of the log ring */
#define SNAPSHOT_SHARED_LOG_SIZE    0x24    /* 32, a power of two */
#define SNAPSHOT_SHARED_LOG_HEAD    0x28    /* 32, bytes logged by this run */
#define SNAPSHOT_SHARED_CMPLOG      0x2c    /* 32, offset of comparisons; 0: */
                                            /* nobody wants them */
#define SNAPSHOT_SHARED_CMPLOG_SIZE 0x30    /* 32 */
#define SNAPSHOT_SHARED_CMPLOG_LAYOUT 0x34  /* 32, SNAPSHOT_CMPLOG_... */
#define SNAPSHOT_SHARED_RESULT      0x38    /* 32, as SNAPSHOT_REG_RESULT */

#define SNAPSHOT_SHARED_MAGIC_IS    0x504e5353      /* "SSNP" */
#define SNAPSHOT_SHARED_VERSION_IS  2

/*
 * Comparisons, as afl-fuzz wants them (struct cmp_map in its cmplog.h): headers
 * of PLACES places in a program, then SLOTS comparisons for each.  Layouts
 * differ in how long these two are, and by that in the size of all.
 */
#define SNAPSHOT_CMPLOG_NONE        0
#define SNAPSHOT_CMPLOG_8_32        1   /* AFL++ 4.00 to 4.10 */
#define SNAPSHOT_CMPLOG_2_42        2   /* since 4.20 */
#define SNAPSHOT_CMPLOG_2_72        3   /* with operands of 256 bits */
#define SNAPSHOT_CMPLOG_PLACES      65536
#define SNAPSHOT_CMPLOG_SLOTS       32
#define SNAPSHOT_CMPLOG_BYTES(header, operands) \
    (SNAPSHOT_CMPLOG_PLACES * ((header) + SNAPSHOT_CMPLOG_SLOTS * (operands)))

#endif
