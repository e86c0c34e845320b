/*
 * Device "snapshot": memory that guest and host share (BAR 2).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/shm.h>
#include "hw/misc/snapshot_regs.h"
#include "migration/snapshot-engine.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "qemu/memalign.h"
#include "qemu/units.h"
#include "shared.h"

/* Where things are in the control area */
#define TEXT_OFFSET     (4 * KiB)
#define TEXT_SIZE       (12 * KiB)
#define LOG_OFFSET      (TEXT_OFFSET + TEXT_SIZE)
#define LOG_SIZE        (32 * KiB)
#define CONTROL_SIZE    (64 * KiB)

QEMU_BUILD_BUG_ON(LOG_OFFSET + LOG_SIZE > CONTROL_SIZE);
QEMU_BUILD_BUG_ON(SNAPSHOT_SHARED_RESULT >= SNAPSHOT_HEADER_SIZE);
QEMU_BUILD_BUG_ON(LOG_SIZE & (LOG_SIZE - 1));

/* The input is preceded by its length. */
#define INPUT_LENGTH    sizeof(uint32_t)

static bool area_init(SnapshotArea *a, Object *owner, const char *name,
                      size_t size, Error **errp)
{
    if (!a->host) {
        a->size = ROUND_UP(size, qemu_real_host_page_size());
        a->host = mmap(NULL, a->size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (a->host == MAP_FAILED) {
            a->host = NULL;
            error_setg_errno(errp, errno, "no memory for %zu bytes that guest "
                             "and host share; set map-size= or input-size= to "
                             "less", a->size);
            return false;
        }
        a->owned = true;
    }
    memory_region_init_ram_ptr(&a->mr, owner, name, a->size, a->host);
    snapshot_leave_out(&a->mr, true);
    return true;
}

static void put_header(SnapshotShared *s, uint32_t map, uint32_t input,
                       uint32_t cmplog)
{
    const struct { uint32_t at, value; } header[] = {
        { SNAPSHOT_SHARED_MAGIC, SNAPSHOT_SHARED_MAGIC_IS },
        { SNAPSHOT_SHARED_VERSION, SNAPSHOT_SHARED_VERSION_IS },
        { SNAPSHOT_SHARED_INPUT, input },
        { SNAPSHOT_SHARED_INPUT_MAX, s->input_max },
        { SNAPSHOT_SHARED_MAP, map },
        { SNAPSHOT_SHARED_MAP_SIZE, s->map_size },
        { SNAPSHOT_SHARED_TEXT, TEXT_OFFSET },
        { SNAPSHOT_SHARED_TEXT_SIZE, TEXT_SIZE },
        { SNAPSHOT_SHARED_LOG, LOG_OFFSET },
        { SNAPSHOT_SHARED_LOG_SIZE, LOG_SIZE },
        { SNAPSHOT_SHARED_CMPLOG, s->cmplog.host ? cmplog : 0 },
        { SNAPSHOT_SHARED_CMPLOG_SIZE, s->cmplog.size },
        { SNAPSHOT_SHARED_CMPLOG_LAYOUT, s->cmplog_layout },
    };

    for (size_t i = 0; i < ARRAY_SIZE(header); i++) {
        stl_le_p(s->control.host + header[i].at, header[i].value);
    }
}

bool snapshot_shared_init(SnapshotShared *s, Object *owner, uint32_t map_size,
                          uint32_t input_max, Error **errp)
{
    size_t map = CONTROL_SIZE, input, cmplog;

    if (!area_init(&s->control, owner, "snapshot-control", CONTROL_SIZE,
                   errp) ||
        !area_init(&s->map, owner, "snapshot-map", map_size, errp) ||
        !area_init(&s->input, owner, "snapshot-input",
                   input_max + INPUT_LENGTH, errp) ||
        (s->cmplog.host && !area_init(&s->cmplog, owner, "snapshot-cmplog",
                                      s->cmplog.size, errp))) {
        return false;
    }
    s->map_size = map_size;
    s->input_max = MIN(input_max, s->input.size - INPUT_LENGTH);
    input = map + s->map.size;
    cmplog = input + s->input.size;
    put_header(s, map, input, cmplog);
    memcpy(s->header, s->control.host, sizeof(s->header));

    memory_region_init(&s->bar, owner, "snapshot-shared",
                       pow2ceil(cmplog + s->cmplog.size));
    memory_region_add_subregion(&s->bar, 0, &s->control.mr);
    memory_region_add_subregion(&s->bar, map, &s->map.mr);
    memory_region_add_subregion(&s->bar, input, &s->input.mr);
    if (s->cmplog.host) {
        memory_region_add_subregion(&s->bar, cmplog, &s->cmplog.mr);
    }
    return true;
}

/*
 * A region in another holds a reference to its owner, which here is the owner
 * of both: the device would never go.
 */
void snapshot_shared_take_apart(SnapshotShared *s)
{
    memory_region_del_subregion(&s->bar, &s->control.mr);
    memory_region_del_subregion(&s->bar, &s->map.mr);
    memory_region_del_subregion(&s->bar, &s->input.mr);
    if (s->cmplog.host) {
        memory_region_del_subregion(&s->bar, &s->cmplog.mr);
    }
}

static void area_free(SnapshotArea *a)
{
    snapshot_leave_out(&a->mr, false);
    if (a->owned) {
        munmap(a->host, a->size);
    } else if (a->host) {
        shmdt(a->host);
    }
    a->host = NULL;
}

void snapshot_shared_free(SnapshotShared *s)
{
    area_free(&s->control);
    area_free(&s->map);
    area_free(&s->input);
    area_free(&s->cmplog);
}

void snapshot_shared_begin_run(SnapshotShared *s)
{
    memcpy(s->control.host, s->header, sizeof(s->header));
}

void snapshot_shared_set_result(SnapshotShared *s, uint32_t result)
{
    stl_le_p(s->header + SNAPSHOT_SHARED_RESULT, result);
    stl_le_p(s->control.host + SNAPSHOT_SHARED_RESULT, result);
}

uint32_t snapshot_shared_set_input(SnapshotShared *s, const void *data,
                                   size_t len)
{
    uint32_t fits = MIN(len, s->input_max);

    stl_he_p(s->input.host, fits);
    memcpy(s->input.host + INPUT_LENGTH, data, fits);
    return fits;
}

/* Leave out of a guest's text what cannot be printed; takes @text. */
static char *clean(char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (g_ascii_isprint(text[i]) || text[i] == '\n' || text[i] == '\t') {
            text[n++] = text[i];
        }
    }
    text[n] = '\0';
    return g_strchomp(text);
}

char *snapshot_shared_text(const SnapshotShared *s, uint32_t size)
{
    size_t len = MIN(size, TEXT_SIZE);
    char *text = g_malloc(len + 1);

    memcpy(text, s->control.host + TEXT_OFFSET, len);
    return clean(text, len);
}

char *snapshot_shared_log(const SnapshotShared *s)
{
    const uint8_t *ring = s->control.host + LOG_OFFSET;
    uint32_t head = ldl_le_p(s->control.host + SNAPSHOT_SHARED_LOG_HEAD);
    uint32_t len = MIN(head, LOG_SIZE);
    char *text = g_malloc(len + 1);

    for (uint32_t i = 0; i < len; i++) {
        text[i] = ring[(head - len + i) & (LOG_SIZE - 1)];
    }
    return clean(text, len);
}
