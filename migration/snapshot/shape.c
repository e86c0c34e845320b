/*
 * In-process machine snapshots: has a section changed, without serialising it?
 *
 * A walk over the description, done once, writes down in order what the
 * vmstate code would do: call a hook, ask a function, follow a pointer, write
 * memory.  To look for change is to do the same, comparing where the vmstate
 * code would write.  The order matters: nothing is looked at through a pointer
 * before it is known to be the pointer that the walk followed.
 *
 * The same notes serve to put plain fields back, where a loader does not.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "migration/snapshot-compat.h"
#include "shape.h"

/* Deeper nesting than this means a description that refers to itself. */
#define MAX_DEPTH 16

typedef enum StepKind {
    STEP_MEMORY,    /* fields: compared with the copy, can be put back */
    STEP_GUARD,     /* a pointer or a count: what follows depends on it */
    STEP_TIMER,     /* a timer's deadline */
    STEP_HOOK,      /* pre_save: called, must succeed */
    STEP_NEEDED,    /* is this (sub)section needed? */
    STEP_EXISTS,    /* does this field exist? */
} StepKind;

typedef struct Step {
    StepKind kind;
    void *opaque;           /* for the function, or where the memory is */
    union {
        struct {
            size_t len;
            size_t copy;    /* offset of the copy in SnapshotShape.copies */
        } memory;
        struct {
            int (*call)(void *opaque);
        } hook;
        struct {
            bool (*ask)(void *opaque);
            bool answer;
        } needed;
        struct {
            bool (*ask)(void *opaque, int version_id);
            int version_id;
            bool answer;
        } exists;
    };
} Step;

struct SnapshotShape {
    GArray *steps;          /* of Step */
    GArray *absent;         /* of Step: fields of subsections not needed */
    GByteArray *copies;
    bool complete;
};

/* A walk over the description */
typedef struct Walk {
    SnapshotShape *shape;
    GArray *steps;          /* where steps go: ->steps or ->absent */
    int depth;
} Walk;

/* Fields that are plain memory, whatever byte order they are written in */
static const VMStateInfo *const plain[] = {
    &vmstate_info_bool,
    &vmstate_info_int8, &vmstate_info_int16,
    &vmstate_info_int32, &vmstate_info_int64,
    &vmstate_info_uint8, &vmstate_info_uint16,
    &vmstate_info_uint32, &vmstate_info_uint64,
    &vmstate_info_uint8_equal, &vmstate_info_uint16_equal,
    &vmstate_info_int32_equal, &vmstate_info_uint32_equal,
    &vmstate_info_uint64_equal, &vmstate_info_int32_le,
    &vmstate_info_cpudouble, &vmstate_info_buffer,
};

static bool is_plain(const VMStateInfo *info)
{
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        if (info == plain[i]) {
            return true;
        }
    }
    return false;
}

static void add_memory(Walk *w, StepKind kind, void *at, size_t len)
{
    GByteArray *copies = w->shape->copies;
    Step *last = w->steps->len
        ? &g_array_index(w->steps, Step, w->steps->len - 1) : NULL;
    Step step = {
        .kind = kind,
        .opaque = at,
        .memory = { .len = len, .copy = copies->len },
    };

    if (!len) {
        return;
    }
    if (last && last->kind == STEP_MEMORY && kind == STEP_MEMORY &&
        (uint8_t *)last->opaque + last->memory.len == at &&
        last->memory.copy + last->memory.len == copies->len) {
        last->memory.len += len;
    } else {
        g_array_append_val(w->steps, step);
    }
    g_byte_array_append(copies, at, len);
}

static void add_description(Walk *w, const VMStateDescription *vmsd,
                            void *opaque, int version_id);

static bool absent(const Walk *w)
{
    return w->steps == w->shape->absent;
}

static void add_element(Walk *w, const VMStateField *field, void *at,
                        size_t size)
{
    const char *name = field->info ? field->info->name : "";

    if (field->flags & VMS_STRUCT) {
        add_description(w, field->vmsd, at, field->vmsd->version_id);
    } else if (field->flags & VMS_VSTRUCT) {
        add_description(w, field->vmsd, at, field->struct_version_id);
    } else if (field->info == &vmstate_info_unused_buffer) {
        return;
    } else if (field->info == &vmstate_info_timer) {
        QEMUTimer *timer = at;

        add_memory(w, STEP_TIMER, &timer->expire_time,
                   sizeof(timer->expire_time));
    } else if (is_plain(field->info)) {
        add_memory(w, STEP_MEMORY, at, size);
    } else if (!strcmp(name, "pci config") && !absent(w)) {
        /* These two of hw/pci/pci.c are private; every PCI device has them. */
        add_memory(w, STEP_GUARD, at, sizeof(uint8_t *));
        add_memory(w, STEP_MEMORY, *(uint8_t **)at, size);
    } else if (!strcmp(name, "pci irq state")) {
        add_memory(w, STEP_MEMORY, at, sizeof(uint8_t));
    } else {
        w->shape->complete = false;
    }
}

/* How many elements a field has; what says so is remembered, too. */
static int64_t add_count(Walk *w, const VMStateField *field, void *opaque)
{
    void *at = opaque + field->num_offset;
    int64_t n = 1;

    if (field->flags & VMS_ARRAY) {
        n = field->num;
    } else if (field->flags & VMS_VARRAY_INT32) {
        n = *(int32_t *)at;
        add_memory(w, STEP_GUARD, at, 4);
    } else if (field->flags & VMS_VARRAY_UINT32) {
        n = *(uint32_t *)at;
        add_memory(w, STEP_GUARD, at, 4);
    } else if (field->flags & VMS_VARRAY_UINT16) {
        n = *(uint16_t *)at;
        add_memory(w, STEP_GUARD, at, 2);
    } else if (field->flags & VMS_VARRAY_UINT8) {
        n = *(uint8_t *)at;
        add_memory(w, STEP_GUARD, at, 1);
    }
    return field->flags & VMS_MULTIPLY_ELEMENTS ? n * field->num : n;
}

static size_t add_size(Walk *w, const VMStateField *field, void *opaque)
{
    void *at = opaque + field->size_offset;

    if (!(field->flags & VMS_VBUFFER)) {
        return field->size;
    }
    add_memory(w, STEP_GUARD, at, 4);
    return *(int32_t *)at *
           (field->flags & VMS_MULTIPLY ? field->size : (size_t)1);
}

static void add_field(Walk *w, const VMStateField *field, void *opaque)
{
    const int indirect = VMS_POINTER | VMS_ARRAY_OF_POINTER | VMS_VBUFFER |
                         VMS_VARRAY_INT32 | VMS_VARRAY_UINT32 |
                         VMS_VARRAY_UINT16 | VMS_VARRAY_UINT8;
    void *at = opaque + field->offset;
    int64_t n;
    size_t size;

    if (absent(w) && (field->flags & indirect) &&
        field->info != &vmstate_info_timer) {
        return;     /* nobody vouches for pointers of what is not in use */
    }
    n = add_count(w, field, opaque);
    size = add_size(w, field, opaque);
    if (field->flags & VMS_POINTER) {
        add_memory(w, STEP_GUARD, at, sizeof(void *));
        at = *(void **)at;
    }
    for (int64_t i = 0; i < n; i++) {
        void *element = at + size * i;

        if (field->flags & VMS_ARRAY_OF_POINTER) {
            add_memory(w, STEP_GUARD, element, sizeof(void *));
            element = *(void **)element;
        }
        /* A null pointer is written as a marker: the guard says it all. */
        if (element) {
            add_element(w, field, element, size);
        }
    }
}

static void add_needed(Walk *w, const VMStateDescription *vmsd, void *opaque)
{
    bool needed = !vmsd->needed || vmsd->needed(opaque);
    GArray *steps = w->steps;
    Step step = {
        .kind = STEP_NEEDED,
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

static void add_hook(Walk *w, const VMStateDescription *vmsd, void *opaque)
{
    Step step = {
        .kind = STEP_HOOK,
        .opaque = opaque,
        .hook = { .call = vmsd->pre_save },
    };

    if (vmsd->post_save) {
        w->shape->complete = false;
    }
#if SNAPSHOT_QEMU_SINCE(10, 2)
    if (vmsd->pre_save_errp) {
        w->shape->complete = false;
    }
#endif
    if (vmsd->pre_save && !absent(w)) {
        if (vmsd->pre_save(opaque)) {
            w->shape->complete = false;
        }
        g_array_append_val(w->steps, step);
    }
}

static bool add_exists(Walk *w, const VMStateField *field, void *opaque,
                       int version_id)
{
    Step step = {
        .kind = STEP_EXISTS,
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

/* Everything that vmstate_save_state() looks at, in the same order */
static void add_description(Walk *w, const VMStateDescription *vmsd,
                            void *opaque, int version_id)
{
    const VMStateDescription *const *sub = vmsd->subsections;
    const VMStateField *field;

    if (w->depth == MAX_DEPTH) {
        w->shape->complete = false;
        return;
    }
    w->depth++;
    add_hook(w, vmsd, opaque);
    for (field = vmsd->fields; field->name; field++) {
        if (add_exists(w, field, opaque, version_id)) {
            add_field(w, field, opaque);
        }
    }
    for (; sub && *sub; sub++) {
        add_needed(w, *sub, opaque);
    }
    w->depth--;
}

SnapshotShape *snapshot_shape_new(const VMStateDescription *vmsd, void *opaque)
{
    SnapshotShape *s = g_new0(SnapshotShape, 1);
    Walk w = { .shape = s };

    s->steps = w.steps = g_array_new(false, false, sizeof(Step));
    s->absent = g_array_new(false, false, sizeof(Step));
    s->copies = g_byte_array_new();
    s->complete = true;
    add_needed(&w, vmsd, opaque);
    return s;
}

bool snapshot_shape_complete(const SnapshotShape *shape)
{
    return shape->complete;
}

static bool memory_same(const SnapshotShape *s, const Step *step)
{
    return !memcmp(step->opaque, s->copies->data + step->memory.copy,
                   step->memory.len);
}

static bool step_same(const SnapshotShape *s, const Step *step)
{
    switch (step->kind) {
    case STEP_MEMORY:
    case STEP_GUARD:
    case STEP_TIMER:
        return memory_same(s, step);
    case STEP_HOOK:
        return !step->hook.call(step->opaque);
    case STEP_NEEDED:
        return step->needed.ask(step->opaque) == step->needed.answer;
    case STEP_EXISTS:
        return step->exists.ask(step->opaque, step->exists.version_id) ==
               step->exists.answer;
    }
    g_assert_not_reached();
}

bool snapshot_shape_same(const SnapshotShape *shape)
{
    for (guint i = 0; i < shape->steps->len; i++) {
        if (!step_same(shape, &g_array_index(shape->steps, Step, i))) {
            return false;
        }
    }
    return true;
}

static void put_back_step(const SnapshotShape *s, const Step *step)
{
    const void *saved = s->copies->data + step->memory.copy;

    if (step->kind == STEP_MEMORY) {
        memcpy(step->opaque, saved, step->memory.len);
    } else if (step->kind == STEP_TIMER && !memory_same(s, step)) {
        QEMUTimer *timer = container_of(step->opaque, QEMUTimer, expire_time);
        int64_t deadline = *(const int64_t *)saved;

        if (deadline < 0) {
            timer_del(timer);
        } else {
            timer_mod_ns(timer, deadline);
        }
    }
}

static void put_back_steps(const SnapshotShape *s, const GArray *steps)
{
    for (guint i = 0; i < steps->len; i++) {
        const Step *step = &g_array_index(steps, Step, i);

        if (step->kind == STEP_GUARD && !memory_same(s, step)) {
            return;
        }
        put_back_step(s, step);
    }
}

void snapshot_shape_put_back(const SnapshotShape *shape)
{
    put_back_steps(shape, shape->absent);
    put_back_steps(shape, shape->steps);
}

void snapshot_shape_free(SnapshotShape *shape)
{
    if (shape) {
        g_array_unref(shape->steps);
        g_array_unref(shape->absent);
        g_byte_array_unref(shape->copies);
        g_free(shape);
    }
}
