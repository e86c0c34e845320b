/*
 * The snapshot device tested with nothing else in the way: a multiboot program
 * that prints TAP on the debug console or COM1 and ends by isa-debug-exit.
 *
 * Command line (-append), in any order:
 *   restores=N   restores in each test (default 100)
 *   pages=N      pages written between two restores (default 16)
 *   pool=N       of so many pages (default 4096)
 *   dirty=N      pages written between two restores of the test "rate", which
 *                is there to be measured (default 16)
 *   tests=A,B    only these tests, in the order of the list below
 *   paging       run everything with paging on
 *   reassign     move the BAR rather than use the address from firmware
 *   fuzz         no tests: run a fuzzer's inputs (fuzz.c)
 *   stuck        with fuzz: there is an input, too, by which QEMU itself hangs
 *   device=V:D   the same, each of them as operations on the PCI device with
 *                this vendor and device id, four hexadecimal digits each
 *                (device.c)
 *   hostile=N    no tests: write anything anywhere (hostile.c)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define BOOT_MAGIC      0x2badb002
#define BOOT_MEMORY     0x1
#define BOOT_CMDLINE    0x4

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    { "errors", test_errors },
    { "counter", test_counter },
    { "pages", test_pages },
    { "video", test_video },
    { "code", test_code },
    { "levels", test_levels },
    { "exclude", test_exclude },
    { "timer", test_timer },
    { "tsc", test_tsc },
    { "tlb", test_tlb },
    { "tlb-back", test_tlb_back },
    { "tlb-alias", test_tlb_alias },
    { "smp", test_smp },
    { "contend", test_contend },
    { "rate", test_rate },
};

#define TEST_COUNT (sizeof(tests) / sizeof(tests[0]))

Options opt = { .restores = 100, .pages = 16, .pool = POOL_PAGES, .dirty = 16 };
SnapshotBar *bar;
unsigned int cpus = 1;
uint32_t memory_end;

static unsigned int number;         /* of the running test, from 1 */
static const char *name;
static const char *skipped;

void fail_begin(void)
{
    print("not ok %u - %s: ", number, name ? name : "start");
}

void fail_end(void)
{
    print("\nBail out! the payload stops at the first failure\n");
    finish(EXIT_FAIL);
}

void skip(const char *reason)
{
    skipped = reason;
}

void expect(const char *what, uint32_t got, uint32_t expected)
{
    if (got != expected) {
        fail("%s is 0x%x, expected 0x%x", what, got, expected);
    }
}

uint32_t saved(void)
{
    uint32_t result = snapshot_mmio_read32(bar, SNAPSHOT_REG_RESULT);
    uint32_t n = snapshot_mmio_restores(bar);

    if (result != SNAPSHOT_RES_DONE) {
        fail("result %u after %s %u", result, n ? "restore" : "save", n);
    }
    return n;
}

uint32_t save(void)
{
    snapshot_mmio_save(bar);
    return saved();
}

uint32_t push(void)
{
    snapshot_mmio_push(bar);
    return saved();
}

void restore_until(uint32_t done, uint32_t limit)
{
    uint32_t result;

    if (done < limit) {
        result = snapshot_mmio_restore(bar);
        fail("restore %u returned, with result %u", done + 1, result);
    }
}

/* If @text begins with @prefix and a separator follows, what is after that. */
static const char *after(const char *text, const char *prefix, char separator)
{
    while (*prefix && *text == *prefix) {
        text++;
        prefix++;
    }
    if (*prefix) {
        return NULL;
    }
    if (*text == separator) {
        return text + 1;
    }
    return *text == '\0' || *text == ' ' ? text : NULL;
}

static uint32_t parse_number(const char *text)
{
    uint32_t value = 0;

    while (*text >= '0' && *text <= '9') {
        value = value * 10 + (*text++ - '0');
    }
    return value;
}

/* "vvvv:dddd" to an id as PCI has it, the device in the upper half */
static uint32_t parse_id(const char *text)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t value = 0;

    for (unsigned int i = 0; i < 9; i++) {
        uint32_t digit = 0;

        while (digit < 16 && digits[digit] != text[i]) {
            digit++;
        }
        if (digit == 16 && (i != 4 || text[i] != ':')) {
            fail("device= is an id such as 8086:100e, not \"%s\"", text);
        }
        value = i == 4 ? value : value << 4 | digit;
    }
    return value << 16 | value >> 16;
}

static void parse_word(const char *word)
{
    const char *device = after(word, "device", '=');
    const char *restores = after(word, "restores", '=');
    const char *pages = after(word, "pages", '=');
    const char *dirty = after(word, "dirty", '=');
    const char *pool = after(word, "pool", '=');
    const char *hostile = after(word, "hostile", '=');
    const char *list = after(word, "tests", '=');

    if (restores) {
        opt.restores = parse_number(restores);
    } else if (pages) {
        opt.pages = parse_number(pages);
    } else if (dirty) {
        opt.dirty = parse_number(dirty);
    } else if (pool) {
        opt.pool = parse_number(pool);
    } else if (hostile) {
        opt.hostile = parse_number(hostile);
    } else if (list) {
        opt.tests = list;
    } else if (device) {
        opt.device = parse_id(device);
    } else if (after(word, "paging", ' ')) {
        opt.paging = true;
    } else if (after(word, "reassign", ' ')) {
        opt.reassign = true;
    } else if (after(word, "fuzz", ' ')) {
        opt.fuzz = true;
    } else if (after(word, "stuck", ' ')) {
        opt.stuck = true;
    } else {
        fail("unknown option at \"%s\"", word);
    }
}

/* The first word is the file name, as QEMU's -kernel puts it there. */
static void parse_options(const char *line)
{
    bool first = true;

    while (*line) {
        if (!first && *line != ' ') {
            parse_word(line);
        }
        while (*line && *line != ' ') {
            line++;
        }
        while (*line == ' ') {
            line++;
        }
        first = false;
    }
    if (!opt.restores || !opt.pages || opt.pages > opt.pool ||
        opt.pool > POOL_PAGES) {
        fail("restores= and pages= go from 1, pages= to pool=, that to %u",
             POOL_PAGES);
    }
}

/* Is the test @test in the comma-separated list, or is there no list? */
static bool wanted(const char *test)
{
    const char *list = opt.tests;

    while (list && !after(list, test, ',')) {
        while (*list && *list != ' ' && *list != ',') {
            list++;
        }
        if (*list != ',') {
            return false;
        }
        list++;
    }
    return true;
}

static void run(unsigned int i)
{
    name = tests[i].name;
    skipped = NULL;
    tests[i].run();
    if (skipped) {
        print("ok %u - %s # SKIP %s\n", number, name, skipped);
        return;
    }
    print("ok %u - %s\n", number, name);
    print("# %u restores; the last: %u pages, %u ns\n",
          snapshot_mmio_restores(bar),
          snapshot_mmio_read32(bar, SNAPSHOT_REG_PAGES),
          snapshot_mmio_read32(bar, SNAPSHOT_REG_NS));
}

void payload_main(uint32_t magic, const BootInfo *boot)
{
    console_init();
    interrupts_init();
    print("TAP version 13\n");
    if (magic != BOOT_MAGIC || !(boot->flags & BOOT_MEMORY)) {
        fail("not started by a multiboot loader");
    }
    memory_end = boot->memory_upper * 1024 + 0x100000;
    if (memory_end < MINIMUM_RAM) {
        fail("%u KiB of RAM, at least 64 MiB are needed", boot->memory_upper);
    }
    if (boot->flags & BOOT_CMDLINE) {
        parse_options(boot->cmdline);
    }
    bar = find_device(opt.reassign);
    if (!bar) {
        fail("no snapshot device: start QEMU with -device snapshot");
    }
    if (snapshot_mmio_read32(bar, SNAPSHOT_REG_ABI) != SNAPSHOT_ABI_VERSION) {
        fail("ABI version %u, expected %u",
             snapshot_mmio_read32(bar, SNAPSHOT_REG_ABI),
             SNAPSHOT_ABI_VERSION);
    }
    if (opt.fuzz) {
        fuzz(fuzz_words, FUZZ_WORDS_MAP);
    }
    if (opt.device) {
        fuzz_device_open(opt.device);
        fuzz(fuzz_device, 0);
    }
    paging_init();
    if (opt.paging) {
        paging_enable();
    }
    cpus = start_cpus();
    if (opt.hostile) {
        hostile();
    }
    print("# BAR at 0x%x, %u CPUs, paging %s\n", (uint32_t)bar, cpus,
          opt.paging ? "on" : "off");
    for (unsigned int i = 0; i < TEST_COUNT; i++) {
        if (wanted(tests[i].name)) {
            number++;
            run(i);
        }
    }
    print("1..%u\n", number);
    finish(EXIT_PASS);
}
