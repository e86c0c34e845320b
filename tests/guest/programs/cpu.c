/*
 * Registers: this thread's and another's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "dirty.h"

/*
 * Vector registers.  The ones that calls do not preserve cannot be held across
 * snapshot_save(), so a thread of its own spins with them loaded.
 */

static uint32_t vector_ready;
static uint32_t vector_wrong;
static uint32_t vector_rounds;

static void *hold_vectors(void *opaque)
{
    static const uint8_t pattern[16] = "vector registers";

    __atomic_store_n(&vector_ready, 1, __ATOMIC_SEQ_CST);
    asm volatile(
        "   movdqu  (%[pattern]), %%xmm7\n"
        "   movdqa  %%xmm7, %%xmm15\n"
        "1: movdqa  %%xmm15, %%xmm1\n"
        "   pcmpeqb %%xmm7, %%xmm1\n"
        "   pmovmskb %%xmm1, %%eax\n"
        "   incl    %[rounds]\n"
        "   cmpl    $0xffff, %%eax\n"
        "   je      1b\n"
        "   movl    $1, %[wrong]\n"
        : [rounds] "+m"(vector_rounds), [wrong] "=m"(vector_wrong)
        : [pattern] "r"(pattern)
        : "eax", "cc", "memory", "xmm1", "xmm7", "xmm15");
    return opaque;
}

static bool start_thread(void *(*function)(void *), uint32_t *ready)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, function, NULL)) {
        fail("no thread");
    }
    while (!__atomic_load_n(ready, __ATOMIC_SEQ_CST)) {
        sched_yield();
    }
    return true;
}

static void wait_for_change(const uint32_t *word)
{
    uint32_t start = __atomic_load_n(word, __ATOMIC_SEQ_CST);

    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == start) {
        sched_yield();
    }
}

static bool vector_prepare(void)
{
    return start_thread(hold_vectors, &vector_ready);
}

static void vector_check(uint32_t round)
{
    wait_for_change(&vector_rounds);
    if (__atomic_load_n(&vector_wrong, __ATOMIC_SEQ_CST)) {
        fail("xmm7 and xmm15 differ, in round %u", round);
    }
}

static void vector_spoil(uint32_t round)
{
    __atomic_store_n(&vector_rounds, round, __ATOMIC_SEQ_CST);
}

const Subject vector_registers = {
    "vector registers", vector_prepare, vector_check, vector_spoil
};

/*
 * Another thread, on another CPU if there is one, which counts in a register
 * and in memory all the time: the two differ if they come from two instants.
 */

static uint32_t count_ready;
static uint32_t count_memory;
static uint32_t count_wrong;
static uint32_t epoch;          /* changed after the save */
static uint32_t epoch_seen;     /* by the thread */

static void *count_forever(void *opaque)
{
    uint32_t count = 0, seen = 0;

    __atomic_store_n(&count_ready, 1, __ATOMIC_SEQ_CST);
    asm volatile(
        "1: cmpl    %[count], %[memory]\n"
        "   jne     2f\n"
        "   incl    %[count]\n"
        "   movl    %[count], %[memory]\n"
        "   movl    %[now], %[seen]\n"
        "   movl    %[seen], %[last]\n"
        "   jmp     1b\n"
        "2: movl    $1, %[wrong]\n"
        : [count] "+r"(count), [memory] "+m"(count_memory), [seen] "+r"(seen),
          [last] "=m"(epoch_seen), [wrong] "=m"(count_wrong)
        : [now] "m"(epoch)
        : "cc", "memory");
    return opaque;
}

static bool thread_prepare(void)
{
    return start_thread(count_forever, &count_ready);
}

static void thread_check(uint32_t round)
{
    if (__atomic_load_n(&epoch_seen, __ATOMIC_SEQ_CST)) {
        fail("the thread knows the future, in round %u", round);
    }
    wait_for_change(&count_memory);
    if (__atomic_load_n(&count_wrong, __ATOMIC_SEQ_CST)) {
        fail("memory and register differ, in round %u", round);
    }
}

static void thread_spoil(uint32_t round)
{
    __atomic_store_n(&epoch, round + 1, __ATOMIC_SEQ_CST);
    wait_for_change(&epoch_seen);
}

const Subject other_thread = {
    "other thread", thread_prepare, thread_check, thread_spoil
};
