/*
 * The parts of a PC that the payload needs: interrupts, CPUs, paging.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define PIC_MASTER          0x20
#define PIC_SLAVE           0xa0
#define PIC_VECTOR          0x20
#define PIT_CHANNEL0        0x40
#define PIT_CONTROL         0x43

#define FW_CFG              0x510
#define FW_CFG_NB_CPUS      0x05

#define LAPIC               0xfee00000u
#define LAPIC_SPURIOUS      0xf0
#define LAPIC_ICR           0x300
#define LAPIC_ICR_PENDING   0x1000
#define ICR_INIT_OTHERS     0x000c4500
#define ICR_STARTUP_OTHERS  (0x000c4600 | AP_TRAMPOLINE >> 12)

uint32_t timer_ticks;
uint32_t ap_started;

unsigned int cpu_count(void)
{
    unsigned int low;

    outw(FW_CFG, FW_CFG_NB_CPUS);
    low = inb(FW_CFG + 1);
    return low | inb(FW_CFG + 1) << 8;
}

/* Interrupts */

static uint64_t idt[PIC_VECTOR + 1];

void exception_report(uint32_t number, uint32_t error, uint32_t eip)
{
    fuzz_give_up();
    fail("exception %u, error code 0x%x, at 0x%x", number, error, eip);
}

static void set_gate(unsigned int vector, const char *handler)
{
    uint32_t address = (uint32_t)handler;

    idt[vector] = (uint64_t)(address & 0xffff0000) << 32 |
        0x8e0000000000ull | SEG_CODE << 16 | (address & 0xffff);
}

void load_idt(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint32_t)idt };

    asm volatile("lidtl %0" : : "m"(pointer));
}

/* Exceptions report themselves; of the PICs only the timer is let through. */
void interrupts_init(void)
{
    for (unsigned int n = 0; n < PIC_VECTOR; n++) {
        set_gate(n, exception_stubs + n * EXCEPTION_STUB_SIZE);
    }
    set_gate(PIC_VECTOR, timer_interrupt);
    load_idt();

    outb(PIC_MASTER, 0x11);
    outb(PIC_SLAVE, 0x11);
    outb(PIC_MASTER + 1, PIC_VECTOR);
    outb(PIC_SLAVE + 1, PIC_VECTOR + 8);
    outb(PIC_MASTER + 1, 0x04);
    outb(PIC_SLAVE + 1, 0x02);
    outb(PIC_MASTER + 1, 0x01);
    outb(PIC_SLAVE + 1, 0x01);
    outb(PIC_MASTER + 1, 0xfe);
    outb(PIC_SLAVE + 1, 0xff);
}

/* The timer interrupts every @divisor ticks of 1.193182 MHz. */
void timer_start(uint16_t divisor)
{
    outb(PIT_CONTROL, 0x34);            /* channel 0, mode 2 */
    outb(PIT_CHANNEL0, divisor & 0xff);
    outb(PIT_CHANNEL0, divisor >> 8);
}

/* The mode of channel 0, without the bits that change by themselves. */
uint8_t timer_status(void)
{
    outb(PIT_CONTROL, 0xe2);            /* read back: status of channel 0 */
    return inb(PIT_CHANNEL0) & 0x3f;
}

/* Other CPUs */

static void lapic_write(uint32_t reg, uint32_t value)
{
    *(volatile uint32_t *)(LAPIC + reg) = value;    /* volatile: MMIO */
}

static void send_ipi(uint32_t command)
{
    lapic_write(LAPIC_ICR, command);
    /* volatile: MMIO */
    while (*(volatile uint32_t *)(LAPIC + LAPIC_ICR) & LAPIC_ICR_PENDING) {
        relax();
    }
}

unsigned int start_cpus(void)
{
    unsigned int count = cpu_count();
    unsigned int length = ap_trampoline_end - ap_trampoline;

    if (count > MAX_CPUS) {
        fail("%u CPUs, at most %u are supported", count, MAX_CPUS);
    }
    if (count == 1) {
        return 1;
    }
    for (unsigned int i = 0; i < length; i++) {
        ((char *)AP_TRAMPOLINE)[i] = ap_trampoline[i];
    }
    lapic_write(LAPIC_SPURIOUS, 0x1ff);
    send_ipi(ICR_INIT_OTHERS);
    send_ipi(ICR_STARTUP_OTHERS);
    while (load(&ap_started) != count - 1) {
        relax();
    }
    return count;
}

/* Paging */

static uint32_t page_directory[1024] __attribute__((aligned(PAGE_SIZE)));
static uint32_t window_table[1024] __attribute__((aligned(PAGE_SIZE)));
static uint32_t other_directory[1024] __attribute__((aligned(PAGE_SIZE)));
static uint32_t other_table[1024] __attribute__((aligned(PAGE_SIZE)));

#define PTE_UNCACHED    0x10
#define PTE_LARGE       0x80
#define CR0_PG          0x80000000
#define CR4_PSE         0x10
#define SLOT(address)   ((address) >> 22)

/*
 * What the processor notes is there already, as in Linux: so the directory does
 * not change in each run anew.
 */
#define PTE_NOTED       (PTE_ACCESSED | PTE_DIRTY)

static uint32_t identity(uint32_t slot)
{
    return slot << 22 | PTE_LARGE | PTE_NOTED | PTE_WRITE | PTE_PRESENT |
        (slot >= SLOT(WINDOW) ? PTE_UNCACHED : 0);
}

static uint32_t table_entry(const uint32_t *table)
{
    return (uint32_t)table | PTE_NOTED | PTE_WRITE | PTE_PRESENT;
}

void paging_init(void)
{
    for (uint32_t i = 0; i < 1024; i++) {
        page_directory[i] = other_directory[i] = identity(i);
    }
    page_directory[SLOT(WINDOW)] = table_entry(window_table);
    other_directory[SLOT(WINDOW)] = table_entry(other_table);
}

static void load_root(const uint32_t *directory)
{
    asm volatile("movl %0, %%cr3" : : "r"(directory) : "memory");
}

/* On the calling CPU */
void paging_enable(void)
{
    uint32_t value;

    asm volatile("movl %%cr4, %0" : "=r"(value));
    asm volatile("movl %0, %%cr4" : : "r"(value | CR4_PSE));
    load_root(page_directory);
    asm volatile("movl %%cr0, %0" : "=r"(value));
    asm volatile("movl %0, %%cr0" : : "r"(value | CR0_PG) : "memory");
}

uint32_t *window_entries(void)
{
    return window_table;
}

void forget_page(uint32_t address)
{
    asm volatile("invlpg (%0)" : : "r"(address) : "memory");
}

void window_alias(uint32_t address)
{
    static uint32_t slot;

    if (slot) {
        page_directory[slot] = identity(slot);
    }
    slot = SLOT(address);
    if (slot) {
        page_directory[slot] = table_entry(window_table);
    }
    load_root(page_directory);
}

void use_other_tables(const void *page)
{
    other_table[0] = (uint32_t)page | PTE_WRITE | PTE_PRESENT;
    load_root(page ? other_directory : page_directory);
}
