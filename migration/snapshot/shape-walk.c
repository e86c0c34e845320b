/*
 * In-process machine snapshots: the shape of a section is taken.
 *
 * A walk over the description, done once, writes down in order what the
 * vmstate code would do: call a hook, ask a function, follow a pointer, read or
 * write memory.  To compare or to load is to do the same again, see shape.c.
 * The order matters: nothing is looked at through a pointer before it is known
 * to be the pointer that the walk followed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "migration/snapshot-compat.h"
#include "shape-steps.h"
#include "shape-walk.h"

/* Deeper nesting than this means a description that refers to itself. */
#define MAX_DEPTH 16

/* Zeros at the end of large memory need no copy, in pieces of this length. */
#define ZEROS 512

struct SnapshotWalk {
    SnapshotShape *shape;
    GArray *steps;          /* where steps go: ->steps or ->absent */
    int depth;
    int followed;           /* pointers, to where the walk is */
    bool guarded;           /* in snapshot_walk_guarded() */
    const char *plain;      /* its argument */
};

/* Who knows fields with code of their own: name to SnapshotWalkField */
static GHashTable *registered;

/* Memory that belongs to all descriptions of this name, too */
typedef struct SnapshotAddition {
    const char *name;
    size_t offset, len;     /* in what is described */
} SnapshotAddition;

static GArray *additions;   /* of SnapshotAddition */

void snapshot_walk_register(const char *name, SnapshotWalkField *fn)
{
    if (!registered) {
        registered = g_hash_table_new(g_str_hash, g_str_equal);
    }
    g_hash_table_insert(registered, (void *)name, fn);
}

void snapshot_walk_register_addition(const char *name, size_t offset,
                                     size_t len)
{
    SnapshotAddition addition = { name, offset, len };

    if (!additions) {
        additions = g_array_new(false, false, sizeof(SnapshotAddition));
    }
    g_array_append_val(additions, addition);
}

/* Fields that are plain memory, whatever byte order they are written in */
static const VMStateInfo *const plain[] = {
    &vmstate_info_bool,
    &vmstate_info_int8, &vmstate_info_int16,
    &vmstate_info_int32, &vmstate_info_int64,
    &vmstate_info_uint8, &vmstate_info_uint16,
    &vmstate_info_uint32, &vmstate_info_uint64,
    &vmstate_info_int32_le, &vmstate_info_cpudouble, &vmstate_info_buffer,
};

/* A loader does not write these, but refuses another value. */
static const VMStateInfo *const constant[] = {
    &vmstate_info_uint8_equal, &vmstate_info_uint16_equal,
    &vmstate_info_int32_equal, &vmstate_info_uint32_equal,
    &vmstate_info_uint64_equal,
};

static bool is_among(const VMStateInfo *info, const VMStateInfo *const *list,
                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (info == list[i]) {
            return true;
        }
    }
    return false;
}

/* Is memory at @at the continuation of the last step? */
static bool continues(const SnapshotWalk *w, const SnapshotStep *last,
                      const SnapshotStep *step)
{
    return last->kind == step->kind &&
           last->opaque + last->memory.len == step->opaque &&
           last->memory.copy != SNAPSHOT_STEP_ZEROS &&
           last->memory.copy + last->memory.len == w->shape->copies->len;
}

static void add_copy(SnapshotWalk *w, SnapshotStepKind kind, void *at,
                     size_t len)
{
    SnapshotStep step = {
        .kind = w->guarded ? SNAPSHOT_STEP_GUARD : kind,
        .opaque = at,
        .memory = { .len = len, .copy = w->shape->copies->len },
    };
    SnapshotStep *last = w->steps->len
        ? &g_array_index(w->steps, SnapshotStep, w->steps->len - 1) : NULL;

    if (last && kind != SNAPSHOT_STEP_TIMER && continues(w, last, &step)) {
        last->memory.len += len;
    } else {
        g_array_append_val(w->steps, step);
    }
    g_byte_array_append(w->shape->copies, at, len);
}

static void add_memory(SnapshotWalk *w, SnapshotStepKind kind, void *at,
                       size_t len)
{
    SnapshotStep step = {
        .kind = w->guarded ? SNAPSHOT_STEP_GUARD : kind,
        .memory = { .copy = SNAPSHOT_STEP_ZEROS },
    };
    size_t used = len;

    while (used >= ZEROS && buffer_is_zero(at + used - ZEROS, ZEROS)) {
        used -= ZEROS;
    }
    if (used) {
        add_copy(w, kind, at, used);
    }
    if (used < len) {
        step.opaque = at + used;
        step.memory.len = len - used;
        g_array_append_val(w->steps, step);
    }
}

void snapshot_walk_memory(SnapshotWalk *w, void *at, size_t len)
{
    add_memory(w, SNAPSHOT_STEP_MEMORY, at, len);
}

void snapshot_walk_guard(SnapshotWalk *w, void *at, size_t len)
{
    add_memory(w, SNAPSHOT_STEP_GUARD, at, len);
}

void snapshot_walk_incomplete(SnapshotWalk *w)
{
    w->shape->complete = false;
}

void snapshot_walk_no_reset(SnapshotWalk *w)
{
    w->shape->no_reset = true;
}

void snapshot_walk_not_loadable(SnapshotWalk *w)
{
    w->shape->loadable = false;
}

static void add_description(SnapshotWalk *w, const VMStateDescription *vmsd,
                            void *opaque, int version_id);

static bool absent(const SnapshotWalk *w)
{
    return w->steps == w->shape->absent;
}

/*
 * The vmstate code makes such a structure each time, and has the hooks of its
 * description fill it or take what was loaded into it.  Ours stays.
 */
static void add_temporary(SnapshotWalk *w, const VMStateField *field,
                          void *parent, size_t size)
{
    void **temporary;

    if (absent(w)) {
        return;
    }
    temporary = g_malloc0(size);
    *temporary = parent;
    g_ptr_array_add(w->shape->temporaries, temporary);
    add_description(w, field->vmsd, temporary, field->vmsd->version_id);
}

static void add_element(SnapshotWalk *w, const VMStateField *field, void *at,
                        size_t size)
{
    SnapshotWalkField *known;

    if (field->flags & VMS_STRUCT) {
        add_description(w, field->vmsd, at, field->vmsd->version_id);
    } else if (field->flags & VMS_VSTRUCT) {
        add_description(w, field->vmsd, at, field->struct_version_id);
    } else if (field->info == &vmstate_info_unused_buffer) {
        return;
    } else if (field->info == &vmstate_info_timer) {
        QEMUTimer *timer = at;

        add_memory(w, SNAPSHOT_STEP_TIMER, &timer->expire_time,
                   sizeof(timer->expire_time));
    } else if (is_among(field->info, plain, ARRAY_SIZE(plain))) {
        add_memory(w, SNAPSHOT_STEP_MEMORY, at, size);
    } else if (is_among(field->info, constant, ARRAY_SIZE(constant))) {
        if (!absent(w)) {
            add_memory(w, SNAPSHOT_STEP_GUARD, at, size);
        }
    } else if (field->info == &vmstate_info_bitmap) {
        add_memory(w, SNAPSHOT_STEP_MEMORY, at,
                   BITS_TO_LONGS(size) * sizeof(long));
    } else if (field->info == &vmstate_info_tmp) {
        add_temporary(w, field, at, size);
    } else if (!absent(w)) {
        known = g_hash_table_lookup(registered, field->info->name);
        if (known) {
            known(w, at, size);
        } else {
            w->shape->complete = false;
        }
    }
}

/* How many elements a field has; what says so is remembered, too. */
static int64_t add_count(SnapshotWalk *w, const VMStateField *field,
                         void *opaque)
{
    void *at = opaque + field->num_offset;
    int64_t n = 1;

    if (field->flags & VMS_ARRAY) {
        n = field->num;
    } else if (field->flags & VMS_VARRAY_INT32) {
        n = *(int32_t *)at;
        add_memory(w, SNAPSHOT_STEP_GUARD, at, 4);
    } else if (field->flags & VMS_VARRAY_UINT32) {
        n = *(uint32_t *)at;
        add_memory(w, SNAPSHOT_STEP_GUARD, at, 4);
    } else if (field->flags & VMS_VARRAY_UINT16) {
        n = *(uint16_t *)at;
        add_memory(w, SNAPSHOT_STEP_GUARD, at, 2);
    } else if (field->flags & VMS_VARRAY_UINT8) {
        n = *(uint8_t *)at;
        add_memory(w, SNAPSHOT_STEP_GUARD, at, 1);
    }
    return field->flags & VMS_MULTIPLY_ELEMENTS ? n * field->num : n;
}

static size_t add_size(SnapshotWalk *w, const VMStateField *field, void *opaque)
{
    void *at = opaque + field->size_offset;

    if (!(field->flags & VMS_VBUFFER)) {
        return field->size;
    }
    add_memory(w, SNAPSHOT_STEP_GUARD, at, 4);
    return *(int32_t *)at *
           (field->flags & VMS_MULTIPLY ? field->size : (size_t)1);
}

static void add_field(SnapshotWalk *w, const VMStateField *field, void *opaque)
{
    const int indirect = VMS_POINTER | VMS_ARRAY_OF_POINTER | VMS_VBUFFER |
                         VMS_VARRAY_INT32 | VMS_VARRAY_UINT32 |
                         VMS_VARRAY_UINT16 | VMS_VARRAY_UINT8;
    void *at = opaque + field->offset;
    int followed = w->followed;
    int64_t n;
    size_t size;

    if (absent(w) && (field->flags & indirect) &&
        field->info != &vmstate_info_timer) {
        return;     /* nobody vouches for pointers of what is not in use */
    }
    n = add_count(w, field, opaque);
    size = add_size(w, field, opaque);
    if (field->flags & VMS_POINTER) {
        if (field->flags & VMS_ALLOC && !w->followed) {
            SnapshotAllocation allocation = { .pointer = at };

            g_array_append_val(w->shape->allocations, allocation);
        }
        add_memory(w, SNAPSHOT_STEP_GUARD, at, sizeof(void *));
        at = *(void **)at;
        w->followed++;
    }
    for (int64_t i = 0; i < n; i++) {
        void *element = at + size * i;

        if (field->flags & VMS_ARRAY_OF_POINTER) {
            add_memory(w, SNAPSHOT_STEP_GUARD, element, sizeof(void *));
            element = *(void **)element;
        }
        /* A null pointer is written as a marker: the guard says it all. */
        if (element) {
            add_element(w, field, element, size);
        }
    }
    w->followed = followed;
}

static void add_needed(SnapshotWalk *w, const VMStateDescription *vmsd,
                       void *opaque)
{
    bool needed = !vmsd->needed || vmsd->needed(opaque);
    GArray *steps = w->steps;
    SnapshotStep step = {
        .kind = SNAPSHOT_STEP_NEEDED,
        .opaque = opaque,
        .needed = { .ask = vmsd->needed, .answer = needed },
    };

    if (vmsd->needed && !absent(w)) {
        g_array_append_val(w->steps, step);
    }
    if (!needed) {
        w->steps = w->shape->absent;
    }
    add_description(w, vmsd, opaque, vmsd->version_id);
    w->steps = steps;
}

/* Hooks with an Error, which came with QEMU 10.2, are not called by us. */
static bool hooks_known(const VMStateDescription *vmsd)
{
#if SNAPSHOT_QEMU_SINCE(10, 2)
    if (vmsd->pre_save_errp || vmsd->pre_load_errp || vmsd->post_load_errp) {
        return false;
    }
#endif
    return !vmsd->post_save;
}

static void add_hook(SnapshotWalk *w, SnapshotStepKind kind,
                     int (*call)(void *), void *opaque)
{
    SnapshotStep step = {
        .kind = kind,
        .opaque = opaque,
        .hook = { .call = call },
    };

    if (call) {
        g_array_append_val(w->steps, step);
    }
}

/* What comes before the fields, when saving and when loading */
static void add_start(SnapshotWalk *w, const VMStateDescription *vmsd,
                      void *opaque)
{
    if (absent(w)) {
        return;
    }
    w->shape->complete &= hooks_known(vmsd);
    if (vmsd->pre_save && vmsd->pre_save(opaque)) {
        w->shape->complete = false;
    }
    add_hook(w, SNAPSHOT_STEP_PRE_SAVE, vmsd->pre_save, opaque);
    if (!w->guarded) {
        add_hook(w, SNAPSHOT_STEP_PRE_LOAD, vmsd->pre_load, opaque);
    }
}

static void add_end(SnapshotWalk *w, const VMStateDescription *vmsd,
                    void *opaque, int version_id)
{
    SnapshotStep step = {
        .kind = SNAPSHOT_STEP_POST_LOAD,
        .opaque = opaque,
        .post_load = { .call = vmsd->post_load, .version_id = version_id },
    };

    if (vmsd->post_load && !absent(w) && !w->guarded) {
        g_array_append_val(w->steps, step);
    }
}

static void add_additions(SnapshotWalk *w, const VMStateDescription *vmsd,
                          void *opaque)
{
    GArray *steps = w->steps;

    if (absent(w)) {
        return;
    }
    w->steps = w->shape->additions;
    for (guint i = 0; i < additions->len; i++) {
        const SnapshotAddition *a = &g_array_index(additions, SnapshotAddition,
                                                   i);

        if (!g_strcmp0(a->name, vmsd->name)) {
            add_memory(w, SNAPSHOT_STEP_MEMORY, opaque + a->offset, a->len);
        }
    }
    w->steps = steps;
}

static bool add_exists(SnapshotWalk *w, const VMStateField *field, void *opaque,
                       int version_id)
{
    SnapshotStep step = {
        .kind = SNAPSHOT_STEP_EXISTS,
        .opaque = opaque,
        .exists = { .ask = field->field_exists, .version_id = version_id },
    };

    if (!field->field_exists) {
        return field->version_id <= version_id;
    }
    step.exists.answer = field->field_exists(opaque, version_id);
    if (!absent(w)) {
        g_array_append_val(w->steps, step);
    }
    return step.exists.answer;
}

/* All that vmstate_{save,load}_state() do, in the same order, and additions */
static void add_description(SnapshotWalk *w, const VMStateDescription *vmsd,
                            void *opaque, int version_id)
{
    const VMStateDescription *const *sub = vmsd->subsections;
    const VMStateField *field;
    bool guarded = w->guarded;

    if (w->depth == MAX_DEPTH) {
        w->shape->complete = false;
        return;
    }
    w->depth++;
    w->guarded = guarded && g_strcmp0(vmsd->name, w->plain);
    add_start(w, vmsd, opaque);
    for (field = vmsd->fields; field->name; field++) {
        if (add_exists(w, field, opaque, version_id)) {
            add_field(w, field, opaque);
        }
    }
    add_additions(w, vmsd, opaque);
    for (; sub && *sub; sub++) {
        add_needed(w, *sub, opaque);
    }
    add_end(w, vmsd, opaque, version_id);
    w->guarded = guarded;
    w->depth--;
}

void snapshot_walk_guarded(SnapshotWalk *w, const VMStateDescription *vmsd,
                           void *opaque, const char *plain)
{
    w->guarded = true;
    w->plain = plain;
    add_description(w, vmsd, opaque, vmsd->version_id);
    w->guarded = false;
}

SnapshotShape *snapshot_shape_new(const VMStateDescription *vmsd, void *opaque)
{
    SnapshotShape *s = g_new0(SnapshotShape, 1);
    SnapshotWalk w = { .shape = s };

    s->steps = w.steps = g_array_new(false, false, sizeof(SnapshotStep));
    s->absent = g_array_new(false, false, sizeof(SnapshotStep));
    s->additions = g_array_new(false, false, sizeof(SnapshotStep));
    s->copies = g_byte_array_new();
    s->allocations = g_array_new(false, false, sizeof(SnapshotAllocation));
    s->temporaries = g_ptr_array_new_with_free_func(g_free);
    s->complete = s->loadable = true;
    add_needed(&w, vmsd, opaque);
    return s;
}
