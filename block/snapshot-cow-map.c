/*
 * What was written to a disk, held in memory: a stack of layers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/crc32c.h"
#include "qemu/host-utils.h"
#include "snapshot-cow-map.h"

/* COW_CHUNK clusters of one layer */
typedef struct CowChunk {
    uint64_t index;     /* of the first cluster, divided by COW_CHUNK */
    uint64_t held;      /* bit i: this layer holds cluster i */
    uint8_t **data;     /* COW_CHUNK of them, NULL for zeros; or no array */
} CowChunk;

typedef struct CowLayer {
    GHashTable *chunks; /* by CowChunk.index, which is part of the value */
    uint64_t held;      /* number of clusters */
} CowLayer;

struct CowMap {
    GPtrArray *layers;  /* of CowLayer; the last one is the top */
    uint64_t bytes, limit;
};

/* What a chunk takes along with its place in the hash table, about */
#define CHUNK_BYTES (sizeof(CowChunk) + 32)
#define ARRAY_BYTES (COW_CHUNK * sizeof(uint8_t *))

static CowLayer *layer_at(const CowMap *map, unsigned i)
{
    return g_ptr_array_index(map->layers, i);
}

static CowLayer *top_layer(const CowMap *map)
{
    return layer_at(map, map->layers->len - 1);
}

static CowChunk *find_chunk(const CowLayer *layer, uint64_t index)
{
    return layer->held ? g_hash_table_lookup(layer->chunks, &index) : NULL;
}

static bool has_room(const CowMap *map, uint64_t bytes)
{
    return !map->limit || map->bytes + bytes <= map->limit;
}

static void free_data(CowMap *map, CowChunk *chunk, unsigned i)
{
    if (chunk->data && chunk->data[i]) {
        g_free(chunk->data[i]);
        chunk->data[i] = NULL;
        map->bytes -= COW_CLUSTER;
    }
}

static void free_chunk(CowMap *map, CowChunk *chunk)
{
    if (chunk->data) {
        for (uint64_t left = chunk->held; left; left &= left - 1) {
            free_data(map, chunk, ctz64(left));
        }
        g_free(chunk->data);
        map->bytes -= ARRAY_BYTES;
    }
    g_free(chunk);
    map->bytes -= CHUNK_BYTES;
}

static void empty_layer(CowMap *map, CowLayer *layer)
{
    GHashTableIter iter;
    gpointer chunk;

    if (!layer->held) {
        return;
    }
    g_hash_table_iter_init(&iter, layer->chunks);
    while (g_hash_table_iter_next(&iter, NULL, &chunk)) {
        free_chunk(map, chunk);
    }
    /* All at once, so that the table becomes small again. */
    g_hash_table_steal_all(layer->chunks);
    layer->held = 0;
}

static void free_layer(CowMap *map, CowLayer *layer)
{
    empty_layer(map, layer);
    g_hash_table_unref(layer->chunks);
    g_free(layer);
}

CowMap *cow_map_new(void)
{
    CowMap *map = g_new0(CowMap, 1);

    map->layers = g_ptr_array_new();
    cow_map_push(map);
    return map;
}

void cow_map_free(CowMap *map)
{
    if (map) {
        for (unsigned i = 0; i < map->layers->len; i++) {
            free_layer(map, layer_at(map, i));
        }
        g_ptr_array_free(map->layers, true);
        g_free(map);
    }
}

void cow_map_set_limit(CowMap *map, uint64_t limit)
{
    map->limit = limit;
}

uint64_t cow_map_limit(const CowMap *map)
{
    return map->limit;
}

uint64_t cow_map_bytes(const CowMap *map)
{
    return map->bytes;
}

/*
 * Reading
 */

uint64_t cow_map_run(const CowMap *map, uint64_t cluster, uint64_t max,
                     bool *held)
{
    uint64_t index = cluster / COW_CHUNK, bits = 0;
    unsigned first = cluster % COW_CHUNK, n;

    for (unsigned i = 0; i < map->layers->len; i++) {
        CowChunk *chunk = find_chunk(layer_at(map, i), index);

        bits |= chunk ? chunk->held : 0;
    }
    bits >>= first;
    *held = bits & 1;
    n = MIN(*held ? cto64(bits) : ctz64(bits), COW_CHUNK - first);
    return MIN(n, max);
}

const uint8_t *cow_map_read(const CowMap *map, uint64_t cluster)
{
    uint64_t index = cluster / COW_CHUNK, bit = 1ull << (cluster % COW_CHUNK);

    for (unsigned i = map->layers->len; i-- > 0; ) {
        CowChunk *chunk = find_chunk(layer_at(map, i), index);

        if (chunk && (chunk->held & bit)) {
            return chunk->data ? chunk->data[cluster % COW_CHUNK] : NULL;
        }
    }
    g_assert_not_reached();
}

/*
 * Writing
 */

/* The chunk of the top layer, made if need be; NULL: no room */
static CowChunk *claim_chunk(CowMap *map, uint64_t index)
{
    CowLayer *top = top_layer(map);
    CowChunk *chunk = g_hash_table_lookup(top->chunks, &index);

    if (!chunk && has_room(map, CHUNK_BYTES)) {
        chunk = g_new0(CowChunk, 1);
        chunk->index = index;
        g_hash_table_insert(top->chunks, &chunk->index, chunk);
        map->bytes += CHUNK_BYTES;
    }
    return chunk;
}

/* Remove @chunk of the top layer if it turned out that nothing goes there. */
static void drop_unused(CowMap *map, CowChunk *chunk)
{
    if (!chunk->held) {
        g_hash_table_remove(top_layer(map)->chunks, &chunk->index);
        free_chunk(map, chunk);
    }
}

static int alloc_data(CowMap *map, CowChunk *chunk, unsigned i)
{
    uint8_t *data;

    if (!has_room(map, COW_CLUSTER + (chunk->data ? 0 : ARRAY_BYTES))) {
        return -EDQUOT;
    }
    data = g_try_malloc(COW_CLUSTER);
    if (!data) {
        return -ENOMEM;
    }
    if (!chunk->data) {
        chunk->data = g_new0(uint8_t *, COW_CHUNK);
        map->bytes += ARRAY_BYTES;
    }
    chunk->data[i] = data;
    map->bytes += COW_CLUSTER;
    return 0;
}

int cow_map_claim(CowMap *map, uint64_t cluster, bool whole,
                  const uint8_t *base, uint8_t **data)
{
    unsigned i = cluster % COW_CHUNK;
    bool held;
    CowChunk *chunk;
    int ret;

    cow_map_run(map, cluster, 1, &held);
    if (held) {
        base = cow_map_read(map, cluster);
    }
    chunk = claim_chunk(map, cluster / COW_CHUNK);
    if (!chunk) {
        return -EDQUOT;
    }
    if (!chunk->data || !chunk->data[i]) {
        ret = alloc_data(map, chunk, i);
        if (ret < 0) {
            drop_unused(map, chunk);
            return ret;
        }
        top_layer(map)->held += !(chunk->held & (1ull << i));
        chunk->held |= 1ull << i;
        if (!whole && base) {
            memcpy(chunk->data[i], base, COW_CLUSTER);
        } else if (!whole) {
            memset(chunk->data[i], 0, COW_CLUSTER);
        }
    }
    *data = chunk->data[i];
    return 0;
}

/* Bits of the chunk @index that are in [@cluster, @cluster + @n) */
static uint64_t bits_in_range(uint64_t index, uint64_t cluster, uint64_t n)
{
    uint64_t begin = MAX(cluster, index * COW_CHUNK);
    uint64_t end = MIN(cluster + n, (index + 1) * COW_CHUNK);

    return MAKE_64BIT_MASK(begin % COW_CHUNK, end - begin);
}

int cow_map_zero(CowMap *map, uint64_t cluster, uint64_t n)
{
    for (uint64_t index = cluster / COW_CHUNK;
         index * COW_CHUNK < cluster + n; index++) {
        uint64_t bits = bits_in_range(index, cluster, n);
        CowChunk *chunk = claim_chunk(map, index);

        if (!chunk) {
            return -EDQUOT;
        }
        for (uint64_t left = chunk->held & bits; left; left &= left - 1) {
            free_data(map, chunk, ctz64(left));
        }
        top_layer(map)->held += ctpop64(bits & ~chunk->held);
        chunk->held |= bits;
    }
    return 0;
}

void cow_map_discard(CowMap *map, uint64_t cluster, uint64_t n)
{
    for (uint64_t index = cluster / COW_CHUNK;
         index * COW_CHUNK < cluster + n; index++) {
        CowChunk *chunk = find_chunk(top_layer(map), index);
        uint64_t left = chunk ? chunk->held : 0;

        for (left &= bits_in_range(index, cluster, n); left;
             left &= left - 1) {
            free_data(map, chunk, ctz64(left));
        }
    }
}

/*
 * Layers
 */

void cow_map_push(CowMap *map)
{
    CowLayer *layer = g_new0(CowLayer, 1);

    layer->chunks = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_ptr_array_add(map->layers, layer);
}

/* What @from holds goes to @to, in place of what that holds. */
static void merge_chunk(CowMap *map, CowLayer *layer, CowChunk *to,
                        CowChunk *from)
{
    if (!to->data) {
        to->data = g_steal_pointer(&from->data);
    } else {
        for (uint64_t left = from->held; left; left &= left - 1) {
            unsigned i = ctz64(left);

            free_data(map, to, i);
            if (from->data) {
                to->data[i] = g_steal_pointer(&from->data[i]);
            }
        }
    }
    layer->held += ctpop64(from->held & ~to->held);
    to->held |= from->held;
    from->held = 0;
    free_chunk(map, from);
}

void cow_map_merge(CowMap *map)
{
    unsigned layers = map->layers->len;
    GHashTableIter iter;
    gpointer value;
    CowLayer *top, *below;

    if (layers < 2) {
        return;
    }
    top = layer_at(map, layers - 1);
    below = layer_at(map, layers - 2);
    g_hash_table_iter_init(&iter, top->chunks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        CowChunk *chunk = value, *old = find_chunk(below, chunk->index);

        if (old) {
            merge_chunk(map, below, old, chunk);
        } else {
            g_hash_table_insert(below->chunks, &chunk->index, chunk);
            below->held += ctpop64(chunk->held);
        }
    }
    g_hash_table_steal_all(top->chunks);
    top->held = 0;
    g_ptr_array_set_size(map->layers, layers - 1);
    free_layer(map, top);
}

void cow_map_drop(CowMap *map)
{
    if (map->layers->len > 1) {
        free_layer(map, g_ptr_array_steal_index(map->layers,
                                                map->layers->len - 1));
    }
}

uint64_t cow_map_revert(CowMap *map)
{
    CowLayer *top = top_layer(map);
    uint64_t held = top->held;

    empty_layer(map, top);
    return held;
}

unsigned cow_map_layers(const CowMap *map)
{
    return map->layers->len;
}

uint64_t cow_map_held(const CowMap *map, unsigned layer)
{
    return layer_at(map, layer)->held;
}

static uint64_t chunk_checksum(const CowChunk *chunk)
{
    uint64_t sum = 0;

    for (uint64_t left = chunk->held; left; left &= left - 1) {
        unsigned i = ctz64(left);
        uint64_t cluster = chunk->index * COW_CHUNK + i;
        uint32_t crc = chunk->data && chunk->data[i]
                       ? crc32c(0xffffffff, chunk->data[i], COW_CLUSTER) : 0;

        /* A sum of products is the same in any order. */
        sum += (cluster + 1) * ((uint64_t)crc << 1 | 1);
    }
    return sum;
}

uint64_t cow_map_checksum(const CowMap *map)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i + 1 < map->layers->len; i++) {
        GHashTableIter iter;
        gpointer chunk;

        g_hash_table_iter_init(&iter, layer_at(map, i)->chunks);
        while (g_hash_table_iter_next(&iter, NULL, &chunk)) {
            sum += chunk_checksum(chunk) * (2 * i + 1);
        }
    }
    return sum;
}

static bool has_data(const CowChunk *chunk, unsigned i)
{
    return chunk->data && chunk->data[i];
}

int cow_map_foreach(const CowMap *map, CowMapFunc *fn, void *opaque)
{
    static uint8_t *const zeros[COW_CHUNK];
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, layer_at(map, 0)->chunks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        CowChunk *chunk = value;
        unsigned begin = 0, end;

        for (; begin < COW_CHUNK; begin = end) {
            bool data = has_data(chunk, begin);
            int ret;

            end = begin + 1;
            if (!(chunk->held & (1ull << begin))) {
                continue;
            }
            while (end < COW_CHUNK && (chunk->held & (1ull << end)) &&
                   has_data(chunk, end) == data) {
                end++;
            }
            ret = fn(chunk->index * COW_CHUNK + begin, end - begin,
                     data ? chunk->data + begin : zeros, opaque);
            if (ret) {
                return ret;
            }
        }
    }
    return 0;
}
