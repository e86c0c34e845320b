/*
 * In-process machine snapshots: which field of a section is at an offset.
 *
 * The vmstate code can describe what it writes, as JSON: nested lists of
 * fields with their sizes, in the order in which they are in the stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "field-name.h"

static char *in_description(const QDict *desc, size_t *offset);

/*
 * The functions below take @offset bytes into what they look at.  They return
 * a name if it is there, else NULL and @offset less the size of it.
 */
static char *in_field(const QDict *field, size_t *offset)
{
    const char *name = qdict_get_try_str(field, "name");
    int64_t size = qdict_get_try_int(field, "size", 0);
    int64_t elements = qdict_get_try_int(field, "array_len", 1);
    int64_t index = qdict_get_try_int(field, "index", -1);
    QDict *nested = qdict_get_qdict(field, "struct");
    g_autoptr(GString) full = NULL;
    g_autofree char *inner = NULL;

    if (size <= 0 || *offset >= (size_t)(size * elements)) {
        *offset -= MAX(size, 0) * elements;
        return NULL;
    }
    if (qdict_haskey(field, "array_len")) {
        index = *offset / size;
    }
    *offset %= size;
    if (nested) {
        inner = in_description(nested, offset);
    }
    full = g_string_new(name ?: "?");
    if (index >= 0) {
        g_string_append_printf(full, "[%" PRId64 "]", index);
    }
    if (inner) {
        g_string_append_printf(full, ".%s", inner);
    }
    return g_strdup(full->str);
}

static char *in_subsection(const QDict *desc, size_t *offset)
{
    const char *name = qdict_get_try_str(desc, "vmsd_name");
    /* type, length of name, name, version */
    size_t header = 1 + 1 + strlen(name ?: "") + 4;
    g_autofree char *inner = NULL;

    if (*offset < header) {
        return g_strdup_printf("presence of %s", name ?: "?");
    }
    *offset -= header;
    inner = in_description(desc, offset);
    return inner ? g_strdup_printf("%s: %s", name ?: "?", inner) : NULL;
}

static char *in_list(const QList *list,
                     char *(*in_element)(const QDict *, size_t *),
                     size_t *offset)
{
    const QListEntry *e;

    for (e = list ? qlist_first(list) : NULL; e; e = qlist_next(e)) {
        char *name = in_element(qobject_to(QDict, qlist_entry_obj(e)), offset);

        if (name) {
            return name;
        }
    }
    return NULL;
}

static char *in_description(const QDict *desc, size_t *offset)
{
    char *name = in_list(qdict_get_qlist(desc, "fields"), in_field, offset);

    return name ?: in_list(qdict_get_qlist(desc, "subsections"),
                           in_subsection, offset);
}

char *snapshot_field_name(const QDict *section, size_t offset)
{
    return in_description(section, &offset);
}
