/*
 * What the host takes for less than a restore of a machine, to compare with:
 *
 *   floor fork N PAGES          fork() a process as small as this one, have the
 *                               child write PAGES pages and end, wait for it
 *   floor copy N PAGES BYTES    copy PAGES pages and BYTES bytes of CPU state
 *                               back from where they were kept
 *
 * N times each.  Prints one JSON object: how often a second, by the clock from
 * the first to the last time, and the percentiles of single times in
 * nanoseconds.  The pages are written before each copy, as a guest would have
 * done it; that is not counted in single times.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "floor: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Memory as QEMU has it for a guest: huge pages where there are some */
static char *get_memory(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        return NULL;
    }
    madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 1, bytes);
    return memory;
}

static void write_pages(char *memory, size_t pages)
{
    for (size_t i = 0; i < pages; i++) {
        memory[i * PAGE]++;
    }
}

/* One fork and one end of a child.  Returns false, with errno, on failure. */
static bool fork_once(char *memory, size_t pages)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        write_pages(memory, pages);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void report(uint64_t *times, size_t n, uint64_t total)
{
    qsort(times, n, sizeof(*times), compare);
    printf("{\"per_s\": %.1f, \"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64
           ", \"max_ns\": %" PRIu64 "}\n", n * 1e9 / total, times[n / 2],
           times[n - 1 - n / 100], times[n - 1]);
}

/* Fills in @times.  Returns the time of all, or 0, with errno, on failure. */
static uint64_t time_forks(uint64_t *times, size_t n, size_t pages)
{
    char *memory = get_memory(pages * PAGE + PAGE);
    uint64_t begin = now_ns(), since;

    for (size_t i = 0; memory && i < n; i++) {
        since = now_ns();
        if (!fork_once(memory, pages)) {
            return 0;
        }
        times[i] = now_ns() - since;
    }
    return memory ? now_ns() - begin : 0;
}

static uint64_t time_copies(uint64_t *times, size_t n, size_t pages,
                            size_t bytes)
{
    size_t all = pages * PAGE + bytes;
    char *memory = get_memory(all + 1);
    char *saved = get_memory(all + 1);
    uint64_t begin = now_ns(), since;

    for (size_t i = 0; memory && saved && i < n; i++) {
        write_pages(memory, pages);
        since = now_ns();
        for (size_t p = 0; p < pages; p++) {
            memcpy(memory + p * PAGE, saved + p * PAGE, PAGE);
        }
        memcpy(memory + pages * PAGE, saved + pages * PAGE, bytes);
        /* The compiler must not take the copies for useless. */
        asm volatile("" : : "r"(memory) : "memory");
        times[i] = now_ns() - since;
    }
    return memory && saved ? now_ns() - begin : 0;
}

int main(int argc, char **argv)
{
    bool copy = argc == 5 && !strcmp(argv[1], "copy");
    size_t n = 0, pages = 0, bytes = 0;
    uint64_t *times, total;

    if ((!copy && (argc != 4 || strcmp(argv[1], "fork"))) ||
        sscanf(argv[2], "%zu", &n) != 1 || !n ||
        sscanf(argv[3], "%zu", &pages) != 1 ||
        (copy && sscanf(argv[4], "%zu", &bytes) != 1)) {
        return fail("usage", "floor fork N PAGES | floor copy N PAGES BYTES");
    }
    times = calloc(n, sizeof(*times));
    if (!times) {
        return fail("memory", strerror(errno));
    }
    total = copy ? time_copies(times, n, pages, bytes)
                 : time_forks(times, n, pages);
    if (!total) {
        return fail(argv[1], strerror(errno));
    }
    report(times, n, total);
    free(times);
    return EXIT_SUCCESS;
}
