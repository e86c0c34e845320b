/*
 * Character device "snapshot": machine snapshots by text on a serial line.
 *
 * For guests that cannot map a BAR.  The guest writes a line ("save",
 * "restore", "push", "pop" or "discard") and reads one back: "ok N", N being
 * the restores since the save, or "error CODE".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "chardev/char.h"
#include "migration/snapshot-compat.h"
#include "migration/snapshot-engine.h"
#include "qemu/fifo8.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"

#define TYPE_SNAPSHOT_CHARDEV "chardev-snapshot"
OBJECT_DECLARE_SIMPLE_TYPE(SnapshotChardev, SNAPSHOT_CHARDEV)

#define LINE_LEN 32
#define REPLY_SPACE 256

struct SnapshotChardev {
    Chardev parent;

    char line[LINE_LEN];
    size_t len;             /* more than LINE_LEN: the line is too long */
    Fifo8 reply;            /* not yet read by the guest */
    QEMUBH *bh;             /* hands out the reply */
};

/*
 * The reply is handed out by a bottom half: a restore replaces the state of
 * the serial port, so that nothing may be put there before it is over.
 */
static void send_reply(void *opaque)
{
    SnapshotChardev *s = opaque;

    while (!fifo8_is_empty(&s->reply)) {
        int room = qemu_chr_be_can_write(CHARDEV(s));
        uint8_t buf[REPLY_SPACE];
        uint32_t n;

        if (room <= 0) {
            return;
        }
        n = fifo8_pop_buf(&s->reply, buf,
                          MIN(room, fifo8_num_used(&s->reply)));
        qemu_chr_be_write(CHARDEV(s), buf, n);
    }
}

static void snapshot_chr_accept_input(Chardev *chr)
{
    qemu_bh_schedule(SNAPSHOT_CHARDEV(chr)->bh);
}

/* A guest that does not read its replies loses the new ones. */
static void reply(SnapshotChardev *s, SnapshotResult result)
{
    g_autofree char *text = NULL;
    size_t len;

    if (result == SNAPSHOT_RESULT_DONE) {
        text = g_strdup_printf("ok %" PRIu64 "\r\n",
                               snapshot_counters()->restores);
    } else {
        text = g_strdup_printf("error %d\r\n", result);
    }
    len = strlen(text);
    if (fifo8_num_free(&s->reply) >= len) {
        fifo8_push_all(&s->reply, (uint8_t *)text, len);
    }
    qemu_bh_schedule(s->bh);
}

static void snapshot_chr_done(void *opaque, SnapshotResult result)
{
    reply(opaque, result);
}

static bool starts_with(const SnapshotChardev *s, const char *word)
{
    size_t len = strlen(word);

    return s->len >= len && !memcmp(s->line, word, len);
}

static void command(SnapshotChardev *s)
{
    static const char *const names[] = {
        [SNAPSHOT_OP_SAVE] = "save",
        [SNAPSHOT_OP_RESTORE] = "restore",
        [SNAPSHOT_OP_DISCARD] = "discard",
        [SNAPSHOT_OP_PUSH] = "push",
        [SNAPSHOT_OP_POP] = "pop",
    };
    SnapshotResult res = SNAPSHOT_RESULT_UNKNOWN;

    /* A terminal that echoes sends our replies back to us. */
    if (s->len == 0 || starts_with(s, "ok ") || starts_with(s, "error ")) {
        return;
    }
    for (size_t op = 0; op < ARRAY_SIZE(names); op++) {
        if (s->len == strlen(names[op]) &&
            !memcmp(s->line, names[op], s->len)) {
            res = snapshot_submit(op, snapshot_chr_done, s);
        }
    }
    if (res != SNAPSHOT_RESULT_PENDING) {
        reply(s, res);
    }
}

static int snapshot_chr_write(Chardev *chr, const uint8_t *buf, int len)
{
    SnapshotChardev *s = SNAPSHOT_CHARDEV(chr);

    for (int i = 0; i < len; i++) {
        if (buf[i] == '\n' || buf[i] == '\r') {
            command(s);
            s->len = 0;
        } else if (s->len < LINE_LEN) {
            s->line[s->len++] = buf[i];
        } else {
            s->len = LINE_LEN + 1;
        }
    }
    return len;
}

static void snapshot_chr_open(Chardev *chr, ChardevBackend *backend,
                              bool *be_opened, Error **errp)
{
    SnapshotChardev *s = SNAPSHOT_CHARDEV(chr);

    fifo8_create(&s->reply, REPLY_SPACE);
    s->bh = aio_bh_new(iohandler_get_aio_context(), send_reply, s);
}

static void snapshot_chr_finalize(Object *obj)
{
    SnapshotChardev *s = SNAPSHOT_CHARDEV(obj);

    snapshot_cancel(s);
    if (s->bh) {
        qemu_bh_delete(s->bh);
        fifo8_destroy(&s->reply);
    }
}

static void snapshot_chr_class_init(ObjectClass *oc, SnapshotClassData *data)
{
    ChardevClass *cc = CHARDEV_CLASS(oc);

    cc->open = snapshot_chr_open;
    cc->chr_write = snapshot_chr_write;
    cc->chr_accept_input = snapshot_chr_accept_input;
}

static const TypeInfo snapshot_chr_types[] = {
    {
        .name = TYPE_SNAPSHOT_CHARDEV,
        .parent = TYPE_CHARDEV,
        .instance_size = sizeof(SnapshotChardev),
        .instance_finalize = snapshot_chr_finalize,
        .class_init = snapshot_chr_class_init,
    },
};

DEFINE_TYPES(snapshot_chr_types)
