/*
 * In-process machine snapshots: a section as the memory that it describes.
 *
 * The shape of a section is a list of steps, which shape-walk.c has made: what
 * the vmstate code would do to save and to load it, in order.  To look for
 * change is to take the steps that saving takes, comparing where it would read
 * memory.  To load is to take those that loading takes, and to write memory
 * where it would.  No byte is serialised for it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "shape-steps.h"

bool snapshot_shape_complete(const SnapshotShape *shape)
{
    return shape->complete;
}

size_t snapshot_shape_steps(const SnapshotShape *shape)
{
    return shape->steps->len;
}

bool snapshot_shape_loadable(const SnapshotShape *shape)
{
    return shape->complete && shape->loadable;
}

bool snapshot_shape_no_reset(const SnapshotShape *shape)
{
    return shape->no_reset;
}

static const void *saved_memory(const SnapshotShape *s,
                                const SnapshotStep *step)
{
    return s->copies->data + step->memory.copy;
}

/* Most fields are small: those are compared without a call. */
static bool memory_same(const SnapshotShape *s, const SnapshotStep *step)
{
    const void *now = step->opaque, *saved;

    if (step->memory.copy == SNAPSHOT_STEP_ZEROS) {
        return buffer_is_zero(now, step->memory.len);
    }
    saved = saved_memory(s, step);
    switch (step->memory.len) {
    case 1:
        return !memcmp(now, saved, 1);
    case 2:
        return !memcmp(now, saved, 2);
    case 4:
        return !memcmp(now, saved, 4);
    case 8:
        return !memcmp(now, saved, 8);
    default:
        return !memcmp(now, saved, step->memory.len);
    }
}

static SnapshotChange compare_needed(SnapshotShape *s, const SnapshotStep *step)
{
    if (step->needed.ask(step->opaque) == step->needed.answer) {
        return SNAPSHOT_CHANGE_NONE;
    }
    if (step->needed.answer) {
        /* Nobody vouches for pointers of what is not in use any more. */
        return SNAPSHOT_CHANGE_FORM;
    }
    s->absent_needed = true;
    return SNAPSHOT_CHANGE_CONTENT;
}

static bool exists_same(const SnapshotStep *step)
{
    return step->exists.ask(step->opaque, step->exists.version_id) ==
           step->exists.answer;
}

static SnapshotChange compare_step(SnapshotShape *s, const SnapshotStep *step)
{
    switch (step->kind) {
    case SNAPSHOT_STEP_MEMORY:
    case SNAPSHOT_STEP_TIMER:
        return memory_same(s, step) ? SNAPSHOT_CHANGE_NONE
                                    : SNAPSHOT_CHANGE_CONTENT;
    case SNAPSHOT_STEP_GUARD:
        return memory_same(s, step) ? SNAPSHOT_CHANGE_NONE
                                    : SNAPSHOT_CHANGE_FORM;
    case SNAPSHOT_STEP_NEEDED:
        return compare_needed(s, step);
    case SNAPSHOT_STEP_EXISTS:
        return exists_same(step) ? SNAPSHOT_CHANGE_NONE : SNAPSHOT_CHANGE_FORM;
    case SNAPSHOT_STEP_PRE_SAVE:
        return step->hook.call(step->opaque) ? SNAPSHOT_CHANGE_FORM
                                             : SNAPSHOT_CHANGE_NONE;
    case SNAPSHOT_STEP_PRE_LOAD:
    case SNAPSHOT_STEP_POST_LOAD:
        return SNAPSHOT_CHANGE_NONE;
    }
    g_assert_not_reached();
}

bool snapshot_shape_additions_same(const SnapshotShape *shape)
{
    for (guint i = 0; i < shape->additions->len; i++) {
        if (!memory_same(shape, &g_array_index(shape->additions, SnapshotStep,
                                               i))) {
            return false;
        }
    }
    return true;
}

SnapshotChange snapshot_shape_compare(SnapshotShape *shape)
{
    SnapshotChange change = SNAPSHOT_CHANGE_NONE;

    shape->absent_needed = false;
    for (guint i = 0; i < shape->steps->len; i++) {
        const SnapshotStep *step = &g_array_index(shape->steps, SnapshotStep,
                                                  i);

        change = MAX(change, compare_step(shape, step));
        if (change == SNAPSHOT_CHANGE_FORM) {
            return change;  /* what follows may not be there any more */
        }
    }
    if (!snapshot_shape_additions_same(shape)) {
        change = SNAPSHOT_CHANGE_CONTENT;
    }
    return change;
}

static void write_memory(const SnapshotShape *s, const SnapshotStep *step)
{
    if (step->memory.copy == SNAPSHOT_STEP_ZEROS) {
        memset(step->opaque, 0, step->memory.len);
    } else {
        memcpy(step->opaque, saved_memory(s, step), step->memory.len);
    }
}

static void set_timer(const SnapshotShape *s, const SnapshotStep *step)
{
    QEMUTimer *timer = container_of(step->opaque, QEMUTimer, expire_time);
    int64_t deadline;

    if (memory_same(s, step)) {
        return;
    }
    memcpy(&deadline, saved_memory(s, step), sizeof(deadline));
    if (deadline < 0) {
        timer_del(timer);
    } else {
        timer_mod_ns(timer, deadline);
    }
}

static void put_back_steps(const SnapshotShape *s, const GArray *steps)
{
    for (guint i = 0; i < steps->len; i++) {
        const SnapshotStep *step = &g_array_index(steps, SnapshotStep, i);

        if (step->kind == SNAPSHOT_STEP_GUARD && !memory_same(s, step)) {
            return;
        }
        if (step->kind == SNAPSHOT_STEP_MEMORY) {
            write_memory(s, step);
        } else if (step->kind == SNAPSHOT_STEP_TIMER) {
            set_timer(s, step);
        }
    }
}

void snapshot_shape_put_back(const SnapshotShape *shape)
{
    put_back_steps(shape, shape->absent);
    put_back_steps(shape, shape->steps);
}

void snapshot_shape_put_back_additions(const SnapshotShape *shape)
{
    put_back_steps(shape, shape->additions);
}

/* Returns false if a hook failed. */
static bool load_step(const SnapshotShape *s, const SnapshotStep *step)
{
    switch (step->kind) {
    case SNAPSHOT_STEP_MEMORY:
        write_memory(s, step);
        return true;
    case SNAPSHOT_STEP_TIMER:
        set_timer(s, step);
        return true;
    case SNAPSHOT_STEP_PRE_LOAD:
        return !step->hook.call(step->opaque);
    case SNAPSHOT_STEP_POST_LOAD:
        return step->post_load.call(step->opaque,
                                    step->post_load.version_id) >= 0;
    case SNAPSHOT_STEP_GUARD:
    case SNAPSHOT_STEP_NEEDED:
    case SNAPSHOT_STEP_EXISTS:
    case SNAPSHOT_STEP_PRE_SAVE:
        return true;
    }
    g_assert_not_reached();
}

bool snapshot_shape_load(const SnapshotShape *shape)
{
    if (shape->absent_needed) {
        put_back_steps(shape, shape->absent);
    }
    for (guint i = 0; i < shape->steps->len; i++) {
        if (!load_step(shape, &g_array_index(shape->steps, SnapshotStep, i))) {
            return false;
        }
    }
    snapshot_shape_put_back_additions(shape);
    return true;
}

void snapshot_shape_before_load(SnapshotShape *shape)
{
    for (guint i = 0; i < shape->allocations->len; i++) {
        SnapshotAllocation *a = &g_array_index(shape->allocations,
                                               SnapshotAllocation, i);

        a->before = *a->pointer;
    }
}

void snapshot_shape_after_load(SnapshotShape *shape)
{
    for (guint i = 0; i < shape->allocations->len; i++) {
        SnapshotAllocation *a = &g_array_index(shape->allocations,
                                               SnapshotAllocation, i);

        if (*a->pointer != a->before) {
            g_free(a->before);
        }
    }
}

void snapshot_shape_free(SnapshotShape *shape)
{
    if (shape) {
        g_array_unref(shape->steps);
        g_array_unref(shape->absent);
        g_array_unref(shape->additions);
        g_byte_array_unref(shape->copies);
        g_array_unref(shape->allocations);
        g_ptr_array_unref(shape->temporaries);
        g_free(shape);
    }
}
