/*
 * Unit test: which field of a section is at an offset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "migration/snapshot/field-name.h"

/* Described the way the vmstate code describes a section */
static const char section[] =
    "{ 'name': 'dev', 'instance_id': 0, 'vmsd_name': 'dev', 'version': 1,"
    "  'fields': ["
    "    { 'name': 'a', 'type': 'uint32', 'size': 4 },"
    "    { 'name': 'pad', 'type': 'unused', 'size': 0 },"
    "    { 'name': 'regs', 'array_len': 3, 'type': 'uint16', 'size': 2 },"
    "    { 'name': 'q', 'type': 'struct', 'size': 3, 'struct': {"
    "        'vmsd_name': 'queue', 'version': 2, 'fields': ["
    "          { 'name': 'head', 'type': 'uint8', 'size': 1 },"
    "          { 'name': 'tail', 'type': 'uint16', 'size': 2 } ] } },"
    "    { 'name': 'slot', 'index': 7, 'type': 'uint8', 'size': 1 } ],"
    "  'subsections': ["
    "    { 'vmsd_name': 'dev/x', 'version': 1, 'fields': ["
    "        { 'name': 'extra', 'type': 'bool', 'size': 1 } ] } ] }";

static void expect(size_t offset, const char *name)
{
    g_autofree char *json = g_strdelimit(g_strdup(section), "'", '"');
    QObject *obj = qobject_from_json(json, &error_abort);
    g_autofree char *found = snapshot_field_name(qobject_to(QDict, obj),
                                                 offset);

    g_assert_cmpstr(found, ==, name);
    qobject_unref(obj);
}

static void test_plain(void)
{
    expect(0, "a");
    expect(3, "a");
}

static void test_arrays(void)
{
    expect(4, "regs[0]");
    expect(7, "regs[1]");
    expect(9, "regs[2]");
    expect(13, "slot[7]");
}

static void test_structs(void)
{
    expect(10, "q.head");
    expect(11, "q.tail");
    expect(12, "q.tail");
}

static void test_subsections(void)
{
    /* one byte type, one byte length, "dev/x", four bytes version */
    expect(14, "presence of dev/x");
    expect(14 + 10, "presence of dev/x");
    expect(14 + 11, "dev/x: extra");
}

static void test_beyond(void)
{
    expect(14 + 12, NULL);
    expect(100000, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot/field-name/plain", test_plain);
    g_test_add_func("/snapshot/field-name/arrays", test_arrays);
    g_test_add_func("/snapshot/field-name/structs", test_structs);
    g_test_add_func("/snapshot/field-name/subsections", test_subsections);
    g_test_add_func("/snapshot/field-name/beyond", test_beyond);
    return g_test_run();
}
