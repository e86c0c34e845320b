/*
 * Putting back RAM that is a private mapping: by dropping private pages, or by
 * copying into them.
 *
 * To drop a page is cheap in memory: there is one copy of it again.  But the
 * guest takes a fault when it writes to the page next time, and the kernel
 * copies the page then.  To copy the saved page over the private one is cheaper
 * if that happens, and keeps the memory.
 *
 * With "choose" the way is taken that has cost less per page in this process,
 * the fault included: it is measured by touching one of the pages after a
 * drop, which has to happen for one page of a set anyhow.  Every now and then
 * the other way is taken, to measure it again.  Pages that were copied into
 * stay private, so they are counted, and dropped all at once when there are too
 * many: those the guest goes on using come back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "compat-ram.h"
#include "ram-mapped.h"
#include "trace.h"
#include <sys/syscall.h>

/* One restore of this many takes the way that is not the cheaper one. */
#define MEASURE_AGAIN 64

/* Weight of a new measurement: 1 / 8 */
#define AVERAGE_SHIFT 3

/* Private pages that are kept: a part of RAM, but at least as many bytes */
#define KEEP_PART 8
#define KEEP_LEAST (16 * MiB)

/* Ranges for one system call; the kernel takes 1024 at most */
#define BATCH 1024

typedef enum Way {
    WAY_DROP,
    WAY_COPY,
    WAYS,
} Way;

/* Written pages, not put back yet */
typedef struct Part {
    SnapshotBlock *block;
    size_t offset;
    size_t len;
} Part;

struct SnapshotMapped {
    bool choose;
    int pidfd;              /* of this process; -1: no process_madvise() */
    GArray *parts;          /* of Part: of this restore */
    GArray *stay;           /* of Part: those which shall not be dropped */
    uint64_t pages;         /* in @parts */
    uint64_t restores;      /* that put something back */
    uint64_t kept;          /* pages that were copied into, see ->copied */
    uint64_t keep_most;     /* more than this are not kept */
    int64_t cost[WAYS];     /* ps a page; 0: not known */
};

SnapshotMapped *snapshot_mapped_new(size_t bytes, bool choose)
{
    SnapshotMapped *m = g_new0(SnapshotMapped, 1);

    m->choose = choose;
    m->parts = g_array_new(false, false, sizeof(Part));
    m->stay = g_array_new(false, false, sizeof(Part));
    m->keep_most = MAX(bytes / KEEP_PART, KEEP_LEAST) /
                   qemu_real_host_page_size();
    m->pidfd = -1;
#if defined(SYS_pidfd_open) && defined(SYS_process_madvise)
    m->pidfd = syscall(SYS_pidfd_open, getpid(), 0);
#endif
    return m;
}

void snapshot_mapped_free(SnapshotMapped *m)
{
    if (m) {
        if (m->pidfd >= 0) {
            close(m->pidfd);
        }
        g_array_unref(m->parts);
        g_array_unref(m->stay);
        g_free(m);
    }
}

/* Append a part to @parts, or let the last one grow. */
static void append(GArray *parts, SnapshotBlock *block, size_t offset,
                   size_t len)
{
    Part *last = parts->len ? &g_array_index(parts, Part, parts->len - 1)
                            : NULL;

    if (last && last->block == block && last->offset + last->len == offset) {
        last->len += len;
    } else {
        Part part = { block, offset, len };

        g_array_append_val(parts, part);
    }
}

void snapshot_mapped_add(SnapshotMapped *m, SnapshotBlock *block,
                         size_t offset, size_t len, bool copy)
{
    if (copy) {
        append(m->stay, block, offset, len);
    } else {
        append(m->parts, block, offset, len);
        m->pages += len / qemu_real_host_page_size();
    }
}

/*
 * Drop all of @vec with one system call.  Kernels older than 6.13 do not offer
 * that for MADV_DONTNEED; this shows the first time.
 */
static bool drop_at_once(SnapshotMapped *m, const struct iovec *vec, int n)
{
    ssize_t len = 0, done = -1;

    for (int i = 0; i < n; i++) {
        len += vec[i].iov_len;
    }
#ifdef SYS_process_madvise
    if (m->pidfd >= 0) {
        done = syscall(SYS_process_madvise, m->pidfd, vec, n, MADV_DONTNEED, 0);
    }
#endif
    if (done < 0 && m->pidfd >= 0) {
        close(m->pidfd);
        m->pidfd = -1;
    }
    return done == len;
}

static void drop_batch(SnapshotMapped *m, const struct iovec *vec, int n)
{
    if (n > 1 && drop_at_once(m, vec, n)) {
        return;
    }
    for (int i = 0; i < n; i++) {
        madvise(vec[i].iov_base, vec[i].iov_len, MADV_DONTNEED);
    }
}

static void drop_parts(SnapshotMapped *m, const GArray *parts)
{
    g_autofree struct iovec *vec = g_new(struct iovec, BATCH);
    int n = 0;

    for (guint i = 0; i < parts->len; i++) {
        const Part *p = &g_array_index(parts, Part, i);

        vec[n++] = (struct iovec) { p->block->host + p->offset, p->len };
        if (n == BATCH || i == parts->len - 1) {
            drop_batch(m, vec, n);
            n = 0;
        }
    }
}

/* Make a page private again that was dropped: the fault that the guest takes */
static void touch(const Part *p)
{
    uint8_t *byte = p->block->host + p->offset;

    qatomic_set(byte, qatomic_read(byte));
}

static void copy_parts(SnapshotMapped *m, const GArray *parts)
{
    size_t page = qemu_real_host_page_size();

    for (guint i = 0; i < parts->len; i++) {
        const Part *p = &g_array_index(parts, Part, i);
        SnapshotBlock *b = p->block;
        unsigned long at = p->offset / page, n = p->len / page;

        memcpy(b->host + p->offset, b->saved + p->offset, p->len);
        if (!b->copied) {
            b->copied = bitmap_new(b->size / page);
        }
        for (; n--; at++) {
            m->kept += !test_and_set_bit(at, b->copied);
        }
    }
}

/*
 * Append pages of @block that may go: those we have copied into.  Not those
 * that have another content by now, because a level was pushed, or since they
 * are left alone.
 */
static void list_kept(GArray *parts, SnapshotBlock *b)
{
    size_t page = qemu_real_host_page_size();
    unsigned long end = b->size / page, at;

    for (at = find_first_bit(b->copied, end); at < end;
         at = find_next_bit(b->copied, end, at + 1)) {
        if (!memcmp(b->host + at * page, b->saved + at * page, page)) {
            append(parts, b, at * page, page);
        }
    }
}

static void drop_kept(SnapshotMapped *m, SnapshotRam *ram)
{
    trace_snapshot_mapped_drop_kept(m->kept);
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);
        g_autoptr(GArray) parts = g_array_new(false, false, sizeof(Part));

        if (b->copied) {
            list_kept(parts, b);
            drop_parts(m, parts);
            bitmap_clear(b->copied, 0, b->size / qemu_real_host_page_size());
        }
    }
    m->kept = 0;
}

static Way choose_way(SnapshotMapped *m)
{
    Way way;

    if (!m->choose) {
        return WAY_DROP;
    }
    for (way = 0; way < WAYS; way++) {
        if (!m->cost[way]) {
            return way;
        }
    }
    way = m->cost[WAY_COPY] < m->cost[WAY_DROP]
          ? WAY_COPY : WAY_DROP;
    return ++m->restores % MEASURE_AGAIN ? way : !way;
}

/* @ns for all pages, and @fault_ns more for each */
static void learn_cost(SnapshotMapped *m, Way way, int64_t ns,
                       int64_t fault_ns)
{
    int64_t cost = MAX(ns * 1000 / (int64_t)m->pages + fault_ns * 1000, 1);

    if (m->cost[way]) {
        /* A time slice that ended in between says nothing about the way. */
        cost = MIN(cost, m->cost[way] * 2);
        cost = m->cost[way] + ((cost - m->cost[way]) >> AVERAGE_SHIFT);
    }
    m->cost[way] = MAX(cost, 1);
}

/* Put back m->parts, one way or the other. */
static Way put_back_parts(SnapshotMapped *m)
{
    Way way = choose_way(m);
    int64_t begin = get_clock(), end, fault_ns = 0;

    if (way == WAY_COPY) {
        copy_parts(m, m->parts);
        end = get_clock();
    } else {
        drop_parts(m, m->parts);
        end = get_clock();
        if (m->choose) {
            touch(&g_array_index(m->parts, Part, 0));
            fault_ns = get_clock() - end;
        }
    }
    if (m->choose) {
        learn_cost(m, way, end - begin, fault_ns);
    }
    trace_snapshot_mapped_put_back(way == WAY_DROP, m->pages,
                                   m->cost[WAY_DROP], m->cost[WAY_COPY]);
    return way;
}

uint64_t snapshot_mapped_finish(SnapshotMapped *m, SnapshotRam *ram)
{
    uint64_t dropped = 0;

    copy_parts(m, m->stay);
    g_array_set_size(m->stay, 0);
    if (m->pages) {
        dropped = put_back_parts(m) == WAY_DROP ? m->pages : 0;
        g_array_set_size(m->parts, 0);
        m->pages = 0;
    }
    if (m->kept > m->keep_most) {
        drop_kept(m, ram);
    }
    return dropped;
}
