/*
 * In-process machine snapshots: which pages were written.
 *
 * All trackers share QEMU's dirty bitmap for migration: device DMA marks
 * pages there once dirty logging is on, and each accelerator has its own way
 * to tell of the writes of vCPUs.  Migration is blocked while there is a
 * snapshot, so nobody else reads or clears that bitmap.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "migration/snapshot-dirty.h"
#include "compat-ram.h"
#include "internal.h"
#include "runs.h"
#include "trace.h"

static const SnapshotTracker *const trackers[] = {
#ifdef CONFIG_TCG
    &snapshot_track_tcg,
#endif
    &snapshot_track_kvm_ring,
    &snapshot_track_kvm_log,
    &snapshot_track_qtest,
};

static const SnapshotTracker *current;

/* Words of bitmaps that the last snapshot_track_collect() looked at */
static uint64_t words_looked_at;

const SnapshotTracker *snapshot_tracker(void)
{
    return current;
}

/* The number of pages there are, holes between blocks included */
static unsigned long count_pages(void)
{
    ram_addr_t end = 0;
    RAMBlock *rb;

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        end = MAX(end, rb->offset + rb->max_length);
    }
    return DIV_ROUND_UP(end, 1ul << qemu_target_page_bits());
}

const SnapshotTracker *snapshot_track_start(Error **errp)
{
    if (current) {
        return current;
    }
    for (size_t i = 0; i < ARRAY_SIZE(trackers); i++) {
        if (trackers[i]->usable()) {
            if (!memory_global_dirty_log_start(GLOBAL_DIRTY_MIGRATION, errp)) {
                return NULL;
            }
            current = trackers[i];
            snapshot_dirty_start(count_pages());
            trace_snapshot_track_start(current->name);
            return current;
        }
    }
    error_setg(errp, "no way to track writes to RAM with this accelerator; "
               "use TCG, or KVM on x86");
    return NULL;
}

void snapshot_track_stop(void)
{
    if (current) {
        trace_snapshot_track_stop(current->name);
        if (current->stop) {
            current->stop();
        }
        memory_global_dirty_log_stop(GLOBAL_DIRTY_MIGRATION);
        snapshot_dirty_stop();
        current = NULL;
    }
}

typedef struct Collect {
    SnapshotBlock *block;
    SnapshotWrittenFunc *fn;
    void *opaque;
    SnapshotRun run;        /* of @block, found but not handed out; or empty */
    uint64_t pages;
    uint64_t words;
} Collect;

/* The run that was found is complete: no page follows it. */
static void hand_out_run(Collect *c)
{
    SnapshotBlock *b = c->block;
    unsigned int bits = qemu_target_page_bits();
    size_t host_page = qemu_real_host_page_size();
    size_t offset, end;

    if (c->run.from == c->run.to) {
        return;
    }
    offset = ((ram_addr_t)c->run.from << bits) - b->offset;
    end = ((ram_addr_t)c->run.to << bits) - b->offset;
    offset = ROUND_DOWN(offset, host_page);
    end = MIN(ROUND_UP(end, host_page), b->size);
    c->pages += (end - offset) / host_page;
    if (current->rearm) {
        current->rearm(b, offset, end - offset);
    }
    if (c->fn) {
        c->fn(b, offset, end - offset, c->opaque);
    }
}

/* Pages were written for which @bits, from page @base on, stand. */
static void add_bits(Collect *c, unsigned long base, unsigned long bits)
{
    while (bits) {
        SnapshotRun run = snapshot_take_run(&bits);

        run.from += base;
        run.to += base;
        if (!snapshot_join_runs(&c->run, run)) {
            hand_out_run(c);
            c->run = run;
        }
    }
}

/*
 * QEMU keeps each bitmap in pieces.  Returns the piece with the bit of @page,
 * the number of that bit in it, and how many bits there are from there to
 * @end, at most.  RCU protects the pieces.
 */
static unsigned long *bitmap_piece(unsigned int client, unsigned long page,
                                   unsigned long end, unsigned long *at,
                                   unsigned long *num)
{
    DirtyMemoryBlocks *b = qatomic_rcu_read(&ram_list.dirty_memory[client]);

    *at = page % DIRTY_MEMORY_BLOCK_SIZE;
    *num = MIN(end - page, DIRTY_MEMORY_BLOCK_SIZE - *at);
    return b->blocks[page / DIRTY_MEMORY_BLOCK_SIZE];
}

bool snapshot_any_clean(unsigned int client, ram_addr_t start, size_t len)
{
    unsigned int bits = qemu_target_page_bits();
    unsigned long page = start >> bits;
    unsigned long end = DIV_ROUND_UP(start + len, 1ul << bits);
    unsigned long at, num;

    RCU_READ_LOCK_GUARD();
    for (; page < end; page += num) {
        unsigned long *map = bitmap_piece(client, page, end, &at, &num);

        if (find_next_zero_bit(map, at + num, at) < at + num) {
            return true;
        }
    }
    return false;
}

/*
 * A block begins at a word of the bitmap, but may end inside of one.  Runs
 * are joined across words.
 */
static void collect_block(Collect *c)
{
    unsigned int bits = qemu_target_page_bits();
    unsigned long page = c->block->offset >> bits;
    unsigned long end = page + DIV_ROUND_UP(c->block->used, 1ul << bits);
    unsigned long last = BITS_TO_LONGS(end), word = BIT_WORD(page);

    RCU_READ_LOCK_GUARD();
    c->run = (SnapshotRun) { 0 };
    while ((word = snapshot_dirty_take(word, last, &c->words)) < last) {
        unsigned long base = word * BITS_PER_LONG;
        unsigned long from = MAX(page, base), at, num;
        unsigned long *map = bitmap_piece(DIRTY_MEMORY_MIGRATION, from, end,
                                          &at, &num);

        add_bits(c, base, snapshot_take_word(map + BIT_WORD(at), from - base,
                                             MIN(end - base, BITS_PER_LONG)));
        c->words++;
        word++;
    }
    hand_out_run(c);
}

/* Flash memory is written to by device code that tells nobody. */
static void mark_flash(const SnapshotBlock *b)
{
    if (b->mr->rom_device && !b->mr->readonly) {
        snapshot_set_dirty_range(b->offset, b->used,
                                 1 << DIRTY_MEMORY_MIGRATION);
    }
}

uint64_t snapshot_track_collect(SnapshotRam *ram, SnapshotWrittenFunc *fn,
                                void *opaque)
{
    Collect c = { .fn = fn, .opaque = opaque };

    if (current->sync) {
        current->sync();
    }
    for (guint i = 0; i < ram->blocks->len; i++) {
        c.block = &g_array_index(ram->blocks, SnapshotBlock, i);
        mark_flash(c.block);
        collect_block(&c);
    }
    words_looked_at = c.words;
    return c.pages;
}

void snapshot_track_forget(SnapshotRam *ram)
{
    snapshot_dirty_mark_all();
    snapshot_track_collect(ram, NULL, NULL);
}

uint64_t snapshot_track_words(void)
{
    return words_looked_at;
}

void snapshot_track_rom_reset(SnapshotRam *ram)
{
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        if (memory_region_is_rom(b->mr) || (b->rb->flags & RAM_RESIZEABLE)) {
            snapshot_set_dirty_range(b->offset, b->used,
                                     1 << DIRTY_MEMORY_MIGRATION);
        }
    }
}
