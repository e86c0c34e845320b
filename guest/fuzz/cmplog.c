/*
 * Comparisons in a guest: what instrumented code calls when it compares.
 *
 * Known are
 *
 *   clang, gcc -fsanitize-coverage=trace-cmp     integers, switches
 *   AFL_LLVM_CMPLOG=1 afl-clang-fast             and strings, memory
 *
 * Where the fuzzer wants no comparisons, which is so in nearly all runs, each
 * is a call and a test.  This file must not be compiled with any of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "harness.h"
#include "sancov.h"
#include "snapshot-cmplog.h"

/* The smallest that there is: readable up to here means not beyond. */
#define PAGE_SIZE   4096

/* More than any layout has room for */
#define BYTES_MAX   64

static SnapCmplog the_log;

/* NULL: nobody wants comparisons.  afl-clang-fast's code looks at it, too. */
void *__afl_cmp_map;

void cmplog_attach(SnapRuns *runs)
{
    __afl_cmp_map = snap_cmplog_open(&the_log, runs) ? the_log.map : NULL;
}

static inline bool is_wanted(void)
{
    return __builtin_expect(__afl_cmp_map != NULL, 0);
}

/* The code that has called a hook; in the hook itself */
#define CALLER ((uintptr_t)__builtin_return_address(0))

/*
 * Integers.  Single bytes a fuzzer guesses soon enough without help.
 */

#define TRACE_CMP(name, type) \
    void name(type a, type b) \
    { \
        if (is_wanted() && a != b) { \
            snap_cmplog_ints(&the_log, CALLER, a, b, sizeof(type), 0); \
        } \
    }

#define INS_HOOK(name, type) \
    void name(type a, type b, uint8_t attribute) \
    { \
        if (is_wanted() && a != b) { \
            snap_cmplog_ints(&the_log, CALLER, a, b, sizeof(type), \
                             attribute); \
        } \
    }

TRACE_CMP(__sanitizer_cov_trace_cmp2, uint16_t)
TRACE_CMP(__sanitizer_cov_trace_cmp4, uint32_t)
TRACE_CMP(__sanitizer_cov_trace_cmp8, uint64_t)
TRACE_CMP(__sanitizer_cov_trace_const_cmp2, uint16_t)
TRACE_CMP(__sanitizer_cov_trace_const_cmp4, uint32_t)
TRACE_CMP(__sanitizer_cov_trace_const_cmp8, uint64_t)
INS_HOOK(__cmplog_ins_hook2, uint16_t)
INS_HOOK(__cmplog_ins_hook4, uint32_t)
INS_HOOK(__cmplog_ins_hook8, uint64_t)
INS_HOOK(__cmplog_ins_hook16, SnapInt)

/* Of @bytes + 1 bytes, a number that is no power of two */
void __cmplog_ins_hookN(SnapInt a, SnapInt b, uint8_t attribute, uint8_t bytes)
{
    if (is_wanted() && a != b) {
        snap_cmplog_ints(&the_log, CALLER, a, b, bytes + 1, attribute);
    }
}

void __sanitizer_cov_trace_cmp1(uint8_t a, uint8_t b)
{
    (void)a;
    (void)b;
}

void __sanitizer_cov_trace_const_cmp1(uint8_t a, uint8_t b)
{
    (void)a;
    (void)b;
}

void __cmplog_ins_hook1(uint8_t a, uint8_t b, uint8_t attribute)
{
    (void)a;
    (void)b;
    (void)attribute;
}

/* Their number, the bits of each, the cases */
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases)
{
    if (!is_wanted() || cases[1] <= 8) {
        return;
    }
    for (uint64_t i = 0; i < cases[0]; i++) {
        if (value != cases[2 + i]) {
            snap_cmplog_ints(&the_log, CALLER + i, value, cases[2 + i],
                             cases[1] / 8, 1);
        }
    }
}

/*
 * Memory and strings.  The pass of afl-clang-fast takes any function with two
 * pointers for one that compares, so these may lead nowhere.
 */

/* Copy @size bytes, or as many of them as are readable; returns how many. */
static size_t copy(void *to, const void *from, size_t size)
{
    size_t left = PAGE_SIZE - (uintptr_t)from % PAGE_SIZE;
    size_t first = left < size ? left : size;
    struct iovec local = { to, size };
    struct iovec remote[] = {
        { (void *)from, first },
        { (char *)from + first, size - first },
    };
    ssize_t count = process_vm_readv(getpid(), &local, 1, remote, 2, 0);

    return count > 0 ? count : 0;
}

static void note_bytes(uintptr_t caller, const void *a, const void *b,
                       size_t size)
{
    uint8_t a_copy[BYTES_MAX], b_copy[BYTES_MAX];
    size_t a_size = copy(a_copy, a, size), b_size = copy(b_copy, b, size);

    size = a_size < b_size ? a_size : b_size;
    if (size && memcmp(a_copy, b_copy, size)) {
        snap_cmplog_bytes(&the_log, caller, a_copy, size, b_copy, size, false);
    }
}

static size_t copy_text(char *to, const void *from, size_t size)
{
    size_t readable = copy(to, from, size);
    size_t length = strnlen(to, readable);

    return length < readable ? length + 1 : readable;
}

static void note_texts(uintptr_t caller, const void *a, const void *b,
                       size_t size)
{
    char a_copy[BYTES_MAX], b_copy[BYTES_MAX];
    size_t a_size = copy_text(a_copy, a, size);
    size_t b_size = copy_text(b_copy, b, size);

    if (a_size && b_size) {
        snap_cmplog_bytes(&the_log, caller, a_copy, a_size, b_copy, b_size,
                          true);
    }
}

/* Up to @size bytes are of interest, unless that cannot be a length. */
static size_t limit(uint64_t size)
{
    size_t longest = snap_cmplog_longest(&the_log);

    return size >= 2 && size < longest ? size : longest;
}

void __cmplog_rtn_hook(const uint8_t *a, const uint8_t *b)
{
    if (is_wanted()) {
        note_bytes(CALLER, a, b, limit(0));
    }
}

void __cmplog_rtn_hook_n(const uint8_t *a, const uint8_t *b, uint64_t size)
{
    if (is_wanted()) {
        note_bytes(CALLER, a, b, limit(size));
    }
}

void __cmplog_rtn_hook_str(const uint8_t *a, const uint8_t *b)
{
    if (is_wanted()) {
        note_texts(CALLER, a, b, limit(0));
    }
}

void __cmplog_rtn_hook_strn(const uint8_t *a, const uint8_t *b, uint64_t size)
{
    if (is_wanted()) {
        note_texts(CALLER, a, b, limit(size));
    }
}

/* Where the characters of a std::string of libstdc++ are: a pointer to them */
static const void *gcc_text(const void *string)
{
    const void *text = NULL;

    copy(&text, string, sizeof(text));
    return text;
}

/*
 * The same for libc++: in the object, behind a length that is even, or where
 * its third word leads.
 */
static const void *llvm_text(const void *string)
{
    const void *words[3] = { NULL };

    copy(words, string, sizeof(words));
    return (uintptr_t)words[0] & 1 ? words[2] : (const char *)string + 1;
}

#define STDSTRING_HOOK(name, first, second) \
    void name(const uint8_t *a, const uint8_t *b) \
    { \
        if (is_wanted()) { \
            note_texts(CALLER, first, second, limit(0)); \
        } \
    }

STDSTRING_HOOK(__cmplog_rtn_gcc_stdstring_cstring, gcc_text(a), b)
STDSTRING_HOOK(__cmplog_rtn_gcc_stdstring_stdstring, gcc_text(a), gcc_text(b))
STDSTRING_HOOK(__cmplog_rtn_llvm_stdstring_cstring, llvm_text(a), b)
STDSTRING_HOOK(__cmplog_rtn_llvm_stdstring_stdstring, llvm_text(a),
               llvm_text(b))
