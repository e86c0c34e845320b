/*
 * Device "snapshot": files as the host of runs, one run for each.
 *
 * What became of each run is printed.  Without files the standard input is the
 * only one, and QEMU ends like the run, as programs made for afl-fuzz do when
 * they are started without it: so does afl-showmap use them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/misc/snapshot_regs.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "run.h"

typedef struct SnapshotFiles {
    SnapshotHost parent;
    GPtrArray *names;           /* of files */
    guint at;                   /* of the present one */
    bool is_stdin;
    guint failed;               /* runs that did not just end */
    uint32_t map_used;          /* bytes, as the guest says; 0: it does not */
    int status;                 /* as of wait(), of the last run */
} SnapshotFiles;

static bool files_start(SnapshotHost *h, uint32_t map_used, Error **errp)
{
    container_of(h, SnapshotFiles, parent)->map_used = map_used;
    return true;
}

static SnapshotNext files_next(SnapshotHost *h)
{
    SnapshotFiles *f = container_of(h, SnapshotFiles, parent);
    const char *name;

    for (; f->at < f->names->len; f->at++) {
        g_autofree char *data = NULL;
        g_autoptr(GError) error = NULL;
        gsize len;

        name = g_ptr_array_index(f->names, f->at);
        if (!g_file_get_contents(name, &data, &len, &error)) {
            error_report("snapshot: %s", error->message);
            f->failed++;
            continue;
        }
        if (snapshot_shared_set_input(h->shared, data, len) < len) {
            warn_report("snapshot: %s: cut to %u bytes; set input-size= to "
                        "more", name, h->shared->input_max);
        }
        memset(h->shared->map.host, 0, h->shared->map_size);
        return SNAPSHOT_NEXT_INPUT;
    }
    return SNAPSHOT_NEXT_OVER;
}

static void files_ended(SnapshotHost *h, const SnapshotEnd *end)
{
    SnapshotFiles *f = container_of(h, SnapshotFiles, parent);

    f->status = snapshot_end_wait_status(end);
    f->failed += end->kind != SNAPSHOT_END_DONE;
    snapshot_end_print(stdout, g_ptr_array_index(f->names, f->at), h->shared,
                       end);
    fflush(stdout);
    f->at++;
}

static int files_over(SnapshotHost *h, const Error *err)
{
    SnapshotFiles *f = container_of(h, SnapshotFiles, parent);

    if (err) {
        return EXIT_FAILURE;
    }
    if (!f->is_stdin) {
        printf("%u runs, %u of them not just done\n", f->names->len,
               f->failed);
        if (f->map_used) {
            printf("the target has %u bytes of the map\n", f->map_used);
        }
        fflush(stdout);
        return f->failed ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    if (WIFSIGNALED(f->status)) {
        signal(WTERMSIG(f->status), SIG_DFL);
        kill(getpid(), WTERMSIG(f->status));
    }
    return WEXITSTATUS(f->status);
}

static void files_free(SnapshotHost *h)
{
    SnapshotFiles *f = container_of(h, SnapshotFiles, parent);

    g_ptr_array_unref(f->names);
    g_free(f);
}

static const SnapshotHostOps files_ops = {
    .reg = SNAPSHOT_HOST_FILES,
    .start = files_start,
    .next = files_next,
    .ended = files_ended,
    .over = files_over,
    .free = files_free,
};

static gint by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Put the file @path, or those in the directory @path, in @names. */
static bool list_files(GPtrArray *names, const char *path, Error **errp)
{
    g_autoptr(GError) error = NULL;
    const char *name;
    GDir *dir;

    if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        g_ptr_array_add(names, g_strdup(path));
        return true;
    }
    dir = g_dir_open(path, 0, &error);
    if (!dir) {
        error_setg(errp, "seeds=%s: %s", path, error->message);
        return false;
    }
    while ((name = g_dir_read_name(dir))) {
        char *file = g_build_filename(path, name, NULL);

        if (g_file_test(file, G_FILE_TEST_IS_REGULAR)) {
            g_ptr_array_add(names, file);
        } else {
            g_free(file);
        }
    }
    g_dir_close(dir);
    g_ptr_array_sort(names, by_name);
    return true;
}

SnapshotHost *snapshot_host_files(SnapshotShared *shared,
                                  const SnapshotRunsConfig *config,
                                  Error **errp)
{
    SnapshotFiles *f = g_new0(SnapshotFiles, 1);

    f->parent.ops = &files_ops;
    f->parent.shared = shared;
    f->parent.fd = -1;
    f->is_stdin = !config->seeds;
    f->names = g_ptr_array_new_with_free_func(g_free);
    if (!list_files(f->names, config->seeds ?: "/dev/stdin", errp) ||
        !snapshot_afl_attach_map(shared, config->map_size, errp)) {
        files_free(&f->parent);
        return NULL;
    }
    if (!f->names->len) {
        error_setg(errp, "seeds=%s: there is no file; put an input there",
                   config->seeds);
        files_free(&f->parent);
        return NULL;
    }
    return &f->parent;
}
