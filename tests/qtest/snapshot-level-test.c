/*
 * Machine snapshots: levels, push and pop.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "snapshot-common.h"

#define RAM_BASE (4 * MiB)
#define PAGE 4096
#define PAGES 64
#define LEVELS 16

static void push(const Snap *s)
{
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_PUSH), ==, SNAPSHOT_RES_DONE);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 0);
}

static void pop(const Snap *s)
{
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==, SNAPSHOT_RES_DONE);
}

static void set(Snap *s, unsigned int page, uint8_t value)
{
    qtest_memset(s->qts, RAM_BASE + page * PAGE, value, PAGE);
}

static uint8_t get(Snap *s, unsigned int page)
{
    return qtest_readb(s->qts, RAM_BASE + page * PAGE + 1234);
}

/* Pages: 0 as in level 1; 1 changed in level 2; 2 zeroed there; 3 later */
static void test_two(const void *engine)
{
    Snap *s = snap_start_engine(engine);

    for (int page = 0; page < 3; page++) {
        set(s, page, 0x10 + page);
    }
    snap_save(s);
    set(s, 1, 0x21);
    set(s, 2, 0);
    push(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 2);
    for (int n = 1; n <= 3; n++) {
        for (int page = 0; page < 4; page++) {
            set(s, page, 0x30 + n);
        }
        snap_restore(s);
        g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, n);
        g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, 4);
        g_assert_cmphex(get(s, 0), ==, 0x10);
        g_assert_cmphex(get(s, 1), ==, 0x21);
        g_assert_cmphex(get(s, 2), ==, 0);
        g_assert_cmphex(get(s, 3), ==, 0);
    }
    /* Back with what was written since, and with what the level has */
    set(s, 3, 0x44);
    pop(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 1);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 1);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, 3);
    for (int page = 0; page < 3; page++) {
        g_assert_cmphex(get(s, page), ==, 0x10 + page);
    }
    g_assert_cmphex(get(s, 3), ==, 0);
    snap_restore(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 2);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, 0);
    snap_end(s);
}

/* A push without a snapshot is a save; there is nothing below the first. */
static void test_errors(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    g_autofree char *none = NULL;

    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==, SNAPSHOT_RES_NONE);
    push(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 1);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==, SNAPSHOT_RES_NONE);
    none = snap_qmp_error(s->qts, "{ 'execute': 'x-snapshot-device-pop' }");
    snap_assert_contains(none, "no level below");
    for (int n = 2; n <= LEVELS; n++) {
        push(s);
        g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, n);
    }
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_PUSH), ==,
                    SNAPSHOT_RES_LIMIT);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, LEVELS);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_REJECTED), ==, 3);
    snap_restore(s);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 0);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==, SNAPSHOT_RES_NONE);
    snap_end(s);
}

/* A save on top of levels replaces them all, whichever engine it has. */
static void test_save_replaces(const void *engine)
{
    static const char *const engines[] = { "copy", "remap" };
    Snap *s = snap_start_engine(engine);

    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        set(s, 0, 1);
        set(s, 1, 1);
        snap_save(s);
        set(s, 1, 2);
        push(s);
        set(s, 2, 2);
        push(s);
        set(s, 3, 2);
        qtest_qmp_assert_success(s->qts,
                                 "{ 'execute': 'x-snapshot-device-save',"
                                 "  'arguments': { 'engine': %s } }",
                                 engines[i]);
        g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 1);
        for (int n = 0; n < 2; n++) {
            for (int page = 0; page < 5; page++) {
                set(s, page, 9);
            }
            snap_restore(s);
            g_assert_cmpint(get(s, 0), ==, 1);
            for (int page = 1; page < 4; page++) {
                g_assert_cmpint(get(s, page), ==, 2);
            }
            g_assert_cmpint(get(s, 4), ==, 0);
        }
        set(s, 2, 0);
        set(s, 3, 0);
    }
    snap_end(s);
}

/* What the machine should be at each level */
typedef struct Model {
    uint8_t page[PAGES];
    uint8_t rtc;
} Model;

static void change(Snap *s, Model *now, GRand *rand)
{
    for (int i = g_rand_int_range(rand, 0, 12); i > 0; i--) {
        int page = g_rand_int_range(rand, 0, PAGES);

        now->page[page] = g_rand_int_range(rand, 0, 4);
        set(s, page, now->page[page]);
    }
    now->rtc = g_rand_int(rand);
    qtest_outb(s->qts, 0x70, 0x40);
    qtest_outb(s->qts, 0x71, now->rtc);
}

static void check(Snap *s, const Model *now)
{
    for (int page = 0; page < PAGES; page++) {
        g_assert_cmpint(get(s, page), ==, now->page[page]);
    }
    qtest_outb(s->qts, 0x70, 0x40);
    g_assert_cmpint(qtest_inb(s->qts, 0x71), ==, now->rtc);
}

/* Any order of commands, compared with a model and verified by the device */
static void test_random(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    GRand *rand = g_rand_new_with_seed(2026);
    Model now = { 0 }, saved[LEVELS];
    int depth = 0;

    for (int n = 0; n < 400; n++) {
        int what = g_rand_int_range(rand, 0, 10);

        change(s, &now, rand);
        if (depth == 0 || what == 0) {
            snap_save(s);
            depth = 1;
            saved[0] = now;
        } else if (what < 4 && depth < LEVELS) {
            push(s);
            saved[depth++] = now;
        } else if (what < 6 && depth > 1) {
            pop(s);
            now = saved[--depth - 1];
        } else {
            snap_restore(s);
            now = saved[depth - 1];
        }
        g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, depth);
        check(s, &now);
    }
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_VERIFY), ==, 0);
    g_rand_free(rand);
    snap_end(s);
}

static uint64_t level_int(Snap *s, unsigned int level, const char *key)
{
    g_autoptr(QDict) info = snap_query(s->qts);
    const QListEntry *e = qlist_first(qdict_get_qlist(info, "levels"));

    while (e && level--) {
        e = qlist_next(e);
    }
    g_assert_nonnull(e);
    return qdict_get_int(qobject_to(QDict, qlist_entry_obj(e)), key);
}

static void hmp(Snap *s, const char *command)
{
    g_autofree char *said = qtest_hmp(s->qts, "%s", command);

    g_assert_cmpstr(said, ==, "");
}

/* A level costs the pages that differ, and counts for itself. */
static void test_query(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    g_autofree char *text = NULL;

    snap_save(s);
    snap_restore(s);
    snap_restore(s);
    for (int page = 0; page < 5; page++) {
        set(s, page, 1);
    }
    push(s);
    set(s, 20, 1);
    push(s);
    for (int n = 0; n < 3; n++) {
        snap_restore(s);
    }
    g_assert_cmpint(level_int(s, 0, "ram-bytes"), ==,
                    snap_reg64(s, SNAPSHOT_REG_RAM_BYTES));
    g_assert_cmpint(level_int(s, 1, "ram-bytes"), ==, 5 * PAGE);
    g_assert_cmpint(level_int(s, 2, "ram-bytes"), ==, 1 * PAGE);
    g_assert_cmpint(level_int(s, 0, "restores"), ==, 2);
    g_assert_cmpint(level_int(s, 1, "restores"), ==, 0);
    g_assert_cmpint(level_int(s, 2, "restores"), ==, 3);
    text = qtest_hmp(s->qts, "info snapshot-device");
    snap_assert_contains(text, "level 2: restores: 0, RAM kept: 20 KiB");

    hmp(s, "snapshot_device_pop");
    g_assert_cmpint(level_int(s, 1, "restores"), ==, 1);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'x-snapshot-device-pop' }");
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 3);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'x-snapshot-device-push' }");
    hmp(s, "snapshot_device_push");
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 3);
    g_assert_cmpint(level_int(s, 1, "ram-bytes"), ==, 0);
    snap_end(s);
}

/* Memory of QEMU that is in use, in bytes */
static size_t resident(Snap *s)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            (int)qtest_pid(s->qts));
    g_autofree char *text = NULL;
    unsigned long pages;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%*u %lu", &pages), ==, 1);
    return pages * qemu_real_host_page_size();
}

/* Pages far from each other: a level costs these, not the huge pages around. */
static void test_memory(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    size_t before;

    snap_save(s);
    for (uint64_t at = 0; at < 32 * MiB; at += 2 * MiB) {
        qtest_memset(s->qts, at, 1, PAGE);
    }
    before = resident(s);
    push(s);
    g_assert_cmpint(resident(s), <, before + 4 * MiB);
    g_assert_cmpint(level_int(s, 1, "ram-bytes"), ==, 16 * PAGE);
    snap_end(s);
}

/* A device is plugged: no push and no way back, until it is saved anew. */
static void test_plugged(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    g_autofree char *why = NULL;

    snap_save(s);
    set(s, 0, 1);
    push(s);
    qtest_qmp_device_add(s->qts, "virtio-rng-pci", "rng0", "{ 'addr': '7' }");
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_PUSH), ==,
                    SNAPSHOT_RES_REFUSED);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==,
                    SNAPSHOT_RES_REFUSED);
    why = snap_qmp_error(s->qts, "{ 'execute': 'x-snapshot-device-pop' }");
    snap_assert_contains(why, "save");
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 2);
    g_assert_cmpint(get(s, 0), ==, 1);
    snap_save(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_LEVELS), ==, 1);
    snap_restore(s);
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    snap_add_for_engines("level/two", test_two);
    snap_add_for_engines("level/errors", test_errors);
    snap_add_for_engines("level/save-replaces", test_save_replaces);
    snap_add_for_engines("level/random", test_random);
    /* The plain way has to come to the same. */
    qtest_add_data_func("/snapshot/level/random/reference/copy",
                        "copy,x-reference=on", test_random);
    qtest_add_data_func("/snapshot/level/random/reference/remap",
                        "remap,x-reference=on", test_random);
    snap_add_for_engines("level/query", test_query);
    snap_add_for_engines("level/memory", test_memory);
    snap_add_for_engines("level/plugged", test_plugged);
    return g_test_run();
}
