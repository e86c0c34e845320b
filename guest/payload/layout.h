/*
 * Constants that the payload's assembly and C parts share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PAYLOAD_LAYOUT_H
#define PAYLOAD_LAYOUT_H

#define SEG_CODE            0x08
#define SEG_DATA            0x10

#define MAX_CPUS            8
#define STACK_SHIFT         12          /* 4 KiB a CPU, 16 KiB for the first */

#define AP_TRAMPOLINE       0x8000      /* below 1 MiB, on a page boundary */

#define EXCEPTION_STUB_SIZE 16

#define FLAG_INTERRUPT      0x200

/* What probe_save() has in the registers when it saves */
#define PROBE_EAX           0xa0a1a2a3
#define PROBE_EBX           0xb0b1b2b3
#define PROBE_ECX           0xc0c1c2c3
#define PROBE_ESI           0x51525354
#define PROBE_EDI           0xd1d2d3d4
#define PROBE_EBP           0xe0e1e2e3

#define PATCHED_ORIGINAL    0x11223344

/* RAM that the page test writes to: the payload itself is far below */
#define POOL_BASE           0x02000000
#define POOL_PAGES          4096
#define PAGE_SIZE           4096

/* RAM for the DMA of a device that is fuzzed: right behind that */
#define DMA_BASE            0x03000000
#define DMA_SIZE            0x00100000
#define MINIMUM_RAM         0x04000000

#endif
