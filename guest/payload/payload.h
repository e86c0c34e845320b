/*
 * What the parts of the payload give each other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "snapshot-mmio.h"

/* Port I/O */
static inline void outb(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t value)
{
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;

    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint16_t inw(uint16_t port)
{
    uint16_t value;

    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;

    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* The time stamp counter, in its own ticks */
static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* Is the accelerator KVM?  CPUID tells, if there is a hypervisor at all. */
static inline bool on_kvm(void)
{
    uint32_t eax = 1, ebx, ecx = 0, edx;

    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (!(ecx & 0x80000000)) {
        return false;
    }
    eax = 0x40000000;
    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ebx == 0x4b4d564b;           /* "KVMK" */
}

static inline void wrtsc(uint64_t ticks)
{
    asm volatile("wrmsr" : : "c"(0x10), "a"((uint32_t)ticks),
                 "d"((uint32_t)(ticks >> 32)));
}

/* One turn of a waiting loop */
static inline void relax(void)
{
    asm volatile("pause" : : : "memory");
}

/* Pass time without an instruction that is slow to emulate. */
static inline void delay(uint32_t loops)
{
    asm volatile("1: decl %0; jnz 1b" : "+r"(loops) : : "cc");
}

/* Words that other CPUs or interrupts change */
static inline uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* boot.S: what it calls, and what it has for the C parts */

typedef struct BootInfo {
    uint32_t flags;
    uint32_t memory_lower;      /* KiB below 1 MiB */
    uint32_t memory_upper;      /* KiB above 1 MiB, up to the first hole */
    uint32_t boot_device;
    const char *cmdline;
} BootInfo;

/* As probe_save() stores them */
typedef struct ProbeState {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax, flags;
} ProbeState;

void payload_main(uint32_t magic, const BootInfo *boot);
void exception_report(uint32_t number, uint32_t error, uint32_t eip);
void ap_main(unsigned int index) __attribute__((noreturn));

extern const char exception_stubs[], timer_interrupt[];
extern const char ap_trampoline[], ap_trampoline_end[];

/* Save with known values in the registers; see boot.S. */
void probe_save(SnapshotBar *device, ProbeState *state);
extern uint32_t probe_counter;      /* counted by the next instruction */

/* Return an operand that lies next to the save, or in a page of its own. */
uint32_t patched_save(SnapshotBar *device);
uint32_t patched_call(void);
extern uint32_t patched_operand, patched_call_operand;

/* console.c */

/* Choose the debug console (port 0xe9) if there is one, else COM1. */
void console_init(void);

/* Print text with %s, %u (decimal), %x (8 hex digits) and %%. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Stop with the given status: QEMU's becomes 2 * status + 1. */
void finish(uint8_t status) __attribute__((noreturn));

#define EXIT_PASS   0x10
#define EXIT_FAIL   0x11

/* pci.c; a function is its bus, device and function number in one */

uint32_t pci_read(uint32_t function, uint32_t reg);
void pci_write(uint32_t function, uint32_t reg, uint32_t value);

/* The function with this device (upper half) and vendor id; -1: none */
int pci_find(uint32_t id);

/* What a BAR takes up, in memory or of the ports; bytes */
typedef struct PciRegion {
    uint32_t base, size;
    bool io;
} PciRegion;

#define PCI_BARS 6

/*
 * Have the function respond to accesses and do DMA.  Returns how many of its
 * BARs, at @regions, firmware has given an address below 4 GiB.
 */
unsigned int pci_enable(uint32_t function, PciRegion *regions);

/*
 * Find the device on any PCI bus, enable it and return its BAR.  With
 * @reassign, or where firmware gave it no address, choose a free one.
 * NULL: there is no such device.
 */
SnapshotBar *find_device(bool reassign);

/* The memory that it shares with the host, where firmware has put it */
uint8_t *find_shared(void);

/* And its size in bytes */
uint32_t find_shared_size(void);

/* For a moment, have the device not answer, and its BARs elsewhere. */
void hide_bars(void);

/* machine.c */

unsigned int cpu_count(void);
void interrupts_init(void);
void timer_start(uint16_t divisor);
uint8_t timer_status(void);
extern uint32_t timer_ticks;

/* Start every other CPU in ap_main(); return how many there are in all. */
unsigned int start_cpus(void);
extern uint32_t ap_started;

/*
 * Paging: all 4 GiB are mapped to themselves, but for the 4 MiB of WINDOW,
 * which has a page table of its own; its pages are not there at first.
 */
#define WINDOW          0xc0000000u
#define PTE_PRESENT     0x01
#define PTE_WRITE       0x02
#define PTE_ACCESSED    0x20
#define PTE_DIRTY       0x40

void paging_init(void);
void paging_enable(void);
void load_idt(void);

/*
 * The entries of WINDOW's page table, which the processor writes to as well;
 * who changes one that is present calls forget_page().
 */
uint32_t *window_entries(void);
void forget_page(uint32_t address);

/* Have WINDOW's page table at @address, too; again at what is there for 0. */
void window_alias(uint32_t address);

/* Use page tables that have @page at WINDOW; NULL: those that were there. */
void use_other_tables(const void *page);

/* main.c */

typedef struct Options {
    uint32_t restores;      /* per test */
    uint32_t pages;         /* written between two restores */
    uint32_t dirty;         /* the same, in test_rate() */
    uint32_t pool;          /* of which those pages are */
    bool paging;
    bool reassign;          /* ignore the BAR address firmware gave */
    bool fuzz;              /* no tests: be a fuzzer's target */
    bool stuck;             /* which may also make a loop of QEMU's */
    uint32_t device;        /* the same, by way of the device with this id */
    uint32_t hostile;       /* no tests, unless 0: see hostile.c */
    const char *tests;      /* comma-separated, NULL: all */
} Options;

extern Options opt;
extern SnapshotBar *bar;
extern unsigned int cpus;
extern uint32_t memory_end;     /* of the RAM that begins at 1 MiB */

/* Report that the running test found something wrong, and stop. */
#define fail(...) do { fail_begin(); print(__VA_ARGS__); fail_end(); } while (0)
void fail_begin(void);
void fail_end(void) __attribute__((noreturn));

/* Report the running test as skipped; the test returns after that. */
void skip(const char *reason);

/*
 * Save the machine; return the number of restores since: 0 after the save,
 * then 1, 2, ... each time execution comes back here.
 */
uint32_t save(void);

/* The same with a level on top of the saved ones; counts its restores */
uint32_t push(void);

/* The same for callers that stored the command themselves: check the result */
uint32_t saved(void);

/* Restore the machine if fewer than @limit were done, else return. */
void restore_until(uint32_t done, uint32_t limit);

/* Report that @what is wrong, unless @got is @expected. */
void expect(const char *what, uint32_t got, uint32_t expected);

/* fuzz.c: a fuzzer's inputs, each of which is given to @test in turn. */
typedef void FuzzTest(const uint8_t *data, uint32_t size);

/*
 * Run them.  @test counts in the first @map_used bytes of the coverage map, or
 * in all of it if that is 0.
 */
void fuzz(FuzzTest *test, uint32_t map_used) __attribute__((noreturn));

/* One more for counter @n of the map, modulo its size */
void fuzz_count(uint32_t n);

/* In a run, something is wrong with the guest: end the run, not as a crash. */
void fuzz_give_up(void);

/* A target: words.  See fuzz.c. */
void fuzz_words(const uint8_t *data, uint32_t size);
#define FUZZ_WORDS_MAP  34

/* Another: an emulated device, found by its id.  See device.c. */
void fuzz_device(const uint8_t *data, uint32_t size);
void fuzz_device_open(uint32_t id);

/* hostile.c: write anything anywhere; the other CPUs call hostile_aside(). */
void hostile(void) __attribute__((noreturn));
void hostile_aside(unsigned int index) __attribute__((noreturn));

/* tests*.c: one function a test */
void test_errors(void);
void test_counter(void);
void test_pages(void);
void test_video(void);
void test_code(void);
void test_levels(void);
void test_exclude(void);
void test_timer(void);
void test_tsc(void);
void test_tlb(void);
void test_tlb_back(void);
void test_tlb_alias(void);
void test_smp(void);
void test_contend(void);
void test_rate(void);

#endif
