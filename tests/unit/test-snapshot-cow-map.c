/*
 * Machine snapshots: what is held of a disk, against a plain array.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "../../block/snapshot-cow-map.h"

#define CLUSTERS 300            /* some chunks, the last one not whole */
#define MAX_LAYERS 5
#define ROUNDS 40000

/* What a cluster is filled with; 0 are zeros */
#define ABSENT 0xff

/* The same as plain arrays: layer[0] is the lowest */
typedef struct Model {
    uint8_t layer[MAX_LAYERS][CLUSTERS];
    unsigned layers;
} Model;

static uint8_t model_get(const Model *m, unsigned cluster)
{
    for (unsigned i = m->layers; i-- > 0; ) {
        if (m->layer[i][cluster] != ABSENT) {
            return m->layer[i][cluster];
        }
    }
    return ABSENT;
}

static void check_cluster(const CowMap *map, const Model *m, unsigned cluster)
{
    uint8_t value = model_get(m, cluster);
    const uint8_t *data;
    bool held;

    g_assert_cmpint(cow_map_run(map, cluster, 1, &held), ==, 1);
    g_assert_cmpint(held, ==, value != ABSENT);
    if (held) {
        data = cow_map_read(map, cluster);
        for (int i = 0; data && i < COW_CLUSTER; i += COW_CLUSTER / 4 - 1) {
            g_assert_cmphex(data[i], ==, value);
        }
        g_assert_true(data || value == 0);
    }
}

/* Runs are as long as they may be, within 64 clusters. */
static void check_run(const CowMap *map, const Model *m, unsigned cluster)
{
    unsigned end = MIN(CLUSTERS, ROUND_UP(cluster + 1, COW_CHUNK)), n = 0;
    bool held, first = model_get(m, cluster) != ABSENT;

    while (cluster + n < end &&
           (model_get(m, cluster + n) != ABSENT) == first) {
        n++;
    }
    g_assert_cmpint(cow_map_run(map, cluster, CLUSTERS - cluster, &held), ==,
                    n);
    g_assert_cmpint(held, ==, first);
}

static void check_all(const CowMap *map, const Model *m)
{
    g_assert_cmpint(cow_map_layers(map), ==, m->layers);
    for (unsigned i = 0; i < m->layers; i++) {
        unsigned held = 0;

        for (unsigned c = 0; c < CLUSTERS; c++) {
            held += m->layer[i][c] != ABSENT;
        }
        g_assert_cmpint(cow_map_held(map, i), ==, held);
    }
    for (unsigned c = 0; c < CLUSTERS; c++) {
        check_cluster(map, m, c);
        check_run(map, m, c);
    }
}

static void claim(CowMap *map, Model *m, unsigned cluster, uint8_t value)
{
    uint8_t base[COW_CLUSTER], *data = NULL;
    uint8_t old = model_get(m, cluster);
    bool whole = value & 1;

    memset(base, 0x55, sizeof(base));
    g_assert_cmpint(cow_map_claim(map, cluster, whole, base, &data), ==, 0);
    if (!whole) {
        /* What was there before has come along. */
        g_assert_cmphex(data[COW_CLUSTER - 1], ==, old == ABSENT ? 0x55 : old);
    }
    memset(data, value, COW_CLUSTER);
    m->layer[m->layers - 1][cluster] = value;
}

static void zero(CowMap *map, Model *m, unsigned cluster, unsigned n)
{
    g_assert_cmpint(cow_map_zero(map, cluster, n), ==, 0);
    memset(&m->layer[m->layers - 1][cluster], 0, n);
}

static void discard(CowMap *map, Model *m, unsigned cluster, unsigned n)
{
    cow_map_discard(map, cluster, n);
    for (; n; n--, cluster++) {
        uint8_t *value = &m->layer[m->layers - 1][cluster];

        *value = *value == ABSENT ? ABSENT : 0;
    }
}

static void merge(CowMap *map, Model *m)
{
    cow_map_merge(map);
    if (m->layers > 1) {
        m->layers--;
        for (unsigned c = 0; c < CLUSTERS; c++) {
            if (m->layer[m->layers][c] != ABSENT) {
                m->layer[m->layers - 1][c] = m->layer[m->layers][c];
            }
        }
    }
}

static void push(CowMap *map, Model *m)
{
    if (m->layers < MAX_LAYERS) {
        cow_map_push(map);
        memset(m->layer[m->layers++], ABSENT, CLUSTERS);
    }
}

static void drop(CowMap *map, Model *m)
{
    cow_map_drop(map);
    m->layers = MAX(m->layers - 1, 1);
}

static void revert(CowMap *map, Model *m)
{
    unsigned held = cow_map_held(map, m->layers - 1);

    g_assert_cmpint(cow_map_revert(map), ==, held);
    memset(m->layer[m->layers - 1], ABSENT, CLUSTERS);
}

static void test_random(void)
{
    CowMap *map = cow_map_new();
    Model m = { .layers = 1 };

    memset(m.layer[0], ABSENT, CLUSTERS);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned cluster = g_test_rand_int_range(0, CLUSTERS);
        unsigned n = g_test_rand_int_range(1, CLUSTERS - cluster + 1);
        int what = g_test_rand_int_range(0, 1000);

        if (what < 900) {
            claim(map, &m, cluster, g_test_rand_int_range(1, ABSENT));
        } else if (what < 940) {
            zero(map, &m, cluster, n);
        } else if (what < 980) {
            discard(map, &m, cluster, n);
        } else if (what < 988) {
            push(map, &m);
        } else if (what < 992) {
            merge(map, &m);
        } else if (what < 994) {
            drop(map, &m);
        } else if (what < 999) {
            revert(map, &m);
        } else {
            check_all(map, &m);
        }
    }
    check_all(map, &m);
    while (m.layers > 1) {
        drop(map, &m);
    }
    revert(map, &m);
    check_all(map, &m);
    g_assert_cmpint(cow_map_bytes(map), ==, 0);
    cow_map_free(map);
}

/* Fill a map up to its limit: what fails changes nothing. */
static void test_limit(void)
{
    CowMap *map = cow_map_new();
    uint64_t n = 0, bytes;
    uint8_t *data;

    cow_map_set_limit(map, 1 * MiB);
    while (cow_map_claim(map, n, true, NULL, &data) == 0) {
        memset(data, n, COW_CLUSTER);
        n++;
    }
    g_assert_cmpint(n, >, 200);
    g_assert_cmpint(n, <, 256);
    g_assert_cmpint(cow_map_held(map, 0), ==, n);
    bytes = cow_map_bytes(map);
    g_assert_cmpint(bytes, <=, 1 * MiB);
    g_assert_cmpint(cow_map_claim(map, n, true, NULL, &data), ==, -EDQUOT);
    g_assert_cmpint(cow_map_claim(map, 1 << 20, true, NULL, &data), ==,
                    -EDQUOT);
    g_assert_cmpint(cow_map_bytes(map), ==, bytes);

    /* What is held can be changed, and a discard makes room. */
    g_assert_cmpint(cow_map_claim(map, 7, false, NULL, &data), ==, 0);
    g_assert_cmphex(data[0], ==, 7);
    cow_map_discard(map, 0, 10);
    g_assert_cmpint(cow_map_claim(map, n, true, NULL, &data), ==, 0);
    cow_map_push(map);
    cow_map_zero(map, 100, 1);
    g_assert_cmpint(cow_map_revert(map), ==, 1);
    g_assert_cmphex(cow_map_read(map, 100)[5], ==, 100);
    cow_map_free(map);
}

/* A disk of 1 TiB that is zeroed takes little memory. */
static void test_zero_all(void)
{
    CowMap *map = cow_map_new();
    uint64_t n = 1 * TiB / COW_CLUSTER;
    bool held;

    g_assert_cmpint(cow_map_zero(map, 3, n / 16), ==, 0);
    g_assert_cmpint(cow_map_bytes(map), <, 32 * MiB);
    g_assert_cmpint(cow_map_run(map, 2, 100, &held), ==, 1);
    g_assert_false(held);
    g_assert_null(cow_map_read(map, n / 16 + 2));
    cow_map_run(map, n / 16 + 3, 1, &held);
    g_assert_false(held);
    g_assert_cmpint(cow_map_revert(map), ==, n / 16);
    g_assert_cmpint(cow_map_bytes(map), ==, 0);
    cow_map_free(map);
}

/* The checksum tells of each bit below the top, and of nothing in it. */
static void test_checksum(void)
{
    CowMap *map = cow_map_new();
    uint64_t sum, empty = cow_map_checksum(map);
    uint8_t *data;

    cow_map_claim(map, 5, false, NULL, &data);
    g_assert_cmpint(cow_map_checksum(map), ==, empty);
    cow_map_push(map);
    sum = cow_map_checksum(map);
    g_assert_cmpint(sum, !=, empty);
    cow_map_zero(map, 5, 100);
    g_assert_cmpint(cow_map_checksum(map), ==, sum);
    cow_map_revert(map);
    data[4095] ^= 1;
    g_assert_cmpint(cow_map_checksum(map), !=, sum);
    data[4095] ^= 1;
    g_assert_cmpint(cow_map_checksum(map), ==, sum);
    cow_map_free(map);
}

static int sum_run(uint64_t cluster, unsigned n, uint8_t *const *data,
                   void *opaque)
{
    uint64_t *sums = opaque;

    g_assert_cmpint(cluster / COW_CHUNK, ==, (cluster + n - 1) / COW_CHUNK);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpint(!data[i], ==, !data[0]);
        sums[0]++;
        sums[1] += data[i] ? (cluster + i) * data[i][9] : 0;
    }
    return cluster == 1000 ? -EIO : 0;
}

static void test_foreach(void)
{
    CowMap *map = cow_map_new();
    uint64_t sums[2] = { 0 }, expected = 0;
    uint8_t *data;

    for (int i = 0; i < 200; i++) {
        cow_map_claim(map, i * 3 / 2, true, NULL, &data);
        memset(data, i, COW_CLUSTER);
        expected += i * 3 / 2 * i;
    }
    cow_map_zero(map, 400, 50);
    g_assert_cmpint(cow_map_foreach(map, sum_run, sums), ==, 0);
    g_assert_cmpint(sums[0], ==, 250);
    g_assert_cmpint(sums[1], ==, expected);
    cow_map_zero(map, 1000, 1);
    g_assert_cmpint(cow_map_foreach(map, sum_run, sums), ==, -EIO);
    cow_map_free(map);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot/cow-map/random", test_random);
    g_test_add_func("/snapshot/cow-map/limit", test_limit);
    g_test_add_func("/snapshot/cow-map/zero-all", test_zero_all);
    g_test_add_func("/snapshot/cow-map/checksum", test_checksum);
    g_test_add_func("/snapshot/cow-map/foreach", test_foreach);
    return g_test_run();
}
