/*
 * Tests of the state of the first CPU, of interrupts and of clocks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define FLAG_CARRY      0x001
#define FLAG_DIRECTION  0x400

#define PIC_MASTER_MASK 0x21
#define PIT_1KHZ        1193
#define PIT_MODE        0x34        /* as timer_status() shows it */

/*
 * The instruction after the store: executed once after the save and once after
 * each restore, with the registers as they were.
 */
void test_counter(void)
{
    ProbeState s;
    uint32_t done;

    store(&probe_counter, 0);
    probe_save(bar, &s);
    done = saved();
    if (load(&probe_counter) != 1) {
        fail("after restore %u, the next instruction was executed %u times",
             done, load(&probe_counter));
    }
    if (s.eax != PROBE_EAX || s.ebx != PROBE_EBX || s.ecx != PROBE_ECX ||
        s.edx != (uint32_t)bar || s.esi != PROBE_ESI || s.edi != PROBE_EDI ||
        s.ebp != PROBE_EBP || !(s.flags & FLAG_CARRY) ||
        !(s.flags & FLAG_DIRECTION)) {
        fail("after restore %u: eax %x ebx %x ecx %x edx %x esi %x edi %x "
             "ebp %x flags %x", done, s.eax, s.ebx, s.ecx, s.edx, s.esi,
             s.edi, s.ebp, s.flags);
    }
    store(&probe_counter, 0x1000 + done);
    restore_until(done, opt.restores);
}

static bool interrupts_enabled(void)
{
    uint32_t flags;

    asm volatile("pushfl; popl %0" : "=r"(flags));
    return flags & FLAG_INTERRUPT;
}

static void wait_ticks(uint32_t count)
{
    uint32_t start = load(&timer_ticks);

    while (load(&timer_ticks) - start < count) {
        relax();
    }
}

/*
 * Timer, interrupt controller and interrupt flag, with a tick that arrives at
 * any instant around the save; ticks go on after a restore.
 */
void test_timer(void)
{
    uint32_t limit = opt.restores < 200 ? opt.restores : 200;
    uint32_t done;

    timer_start(PIT_1KHZ);
    store(&timer_ticks, 0);
    asm volatile("sti");
    wait_ticks(3);
    done = save();
    if (!interrupts_enabled() || inb(PIC_MASTER_MASK) != 0xfe ||
        timer_status() != PIT_MODE || load(&timer_ticks) > 0x10000000) {
        fail("after restore %u: interrupts %s, mask 0x%x, timer mode 0x%x, "
             "%u ticks", done, interrupts_enabled() ? "on" : "off",
             inb(PIC_MASTER_MASK), timer_status(), load(&timer_ticks));
    }
    wait_ticks(2);
    if (done < limit) {
        asm volatile("cli");
        store(&timer_ticks, 0x20000000);
        outb(PIC_MASTER_MASK, 0xff);
        outb(0x43, 0x30);               /* channel 0, mode 0, never loaded */
    }
    restore_until(done, limit);
    asm volatile("cli");
}

/*
 * Does KVM let the guest have a counter of its own?  It then follows what is
 * written to it; without help of the processor the guest sees the host's.  TCG
 * has one of its own that cannot be written.
 */
static bool has_own_tsc(void)
{
    const uint64_t ahead = 1ull << 40;
    uint64_t before = rdtsc();
    bool follows;

    if (!on_kvm()) {
        return true;
    }
    wrtsc(before + ahead);
    follows = rdtsc() - before >= ahead;
    wrtsc(before);
    return follows;
}

/*
 * The time stamp counter goes back: each round lets it run further than it can
 * get between a restore and the next instructions.
 */
void test_tsc(void)
{
    const uint64_t run = 500 * 1000 * 1000;
    uint32_t limit = opt.restores < 3 ? opt.restores : 3;
    uint64_t before, now;
    uint32_t done;

    if (!has_own_tsc()) {
        skip("the guest has the TSC of the host");
        return;
    }
    before = rdtsc();
    done = save();
    now = rdtsc();
    if (now < before || now - before >= run) {
        fail("after restore %u, the TSC is at 0x%x%x; it was 0x%x%x before "
             "the save", done, (uint32_t)(now >> 32), (uint32_t)now,
             (uint32_t)(before >> 32), (uint32_t)before);
    }
    while (done < limit && rdtsc() - before < run) {
        delay(10000);
    }
    restore_until(done, limit);
}
