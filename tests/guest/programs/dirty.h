/*
 * What the parts of the "dirty" program give each other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DIRTY_H
#define DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE        4096

/*
 * One kind of state that a restore has to bring back.
 *
 * prepare() runs before the save, and returns false if the machine does not
 * have what it needs.  check() runs after the save and after every restore and
 * calls fail() if something is not as prepare() left it; then spoil() changes
 * it.  @round is the number of restores so far.
 */
typedef struct Subject {
    const char *name;
    bool (*prepare)(void);
    void (*check)(uint32_t round);
    void (*spoil)(uint32_t round);
} Subject;

/* memory.c */
extern const Subject anonymous_memory, page_cache, video_memory, program_code;
/* kernel.c */
extern const Subject kernel_module, block_dma, random_dma, time_of_day;
/* cpu.c */
extern const Subject vector_registers, other_thread;

/* Say what is wrong with the subject at hand, and end the program. */
void fail(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* Map @size bytes of anonymous memory, all of it present. */
void *get_memory(size_t size, int protection);

/* A page-sized pattern that depends on @seed, and its check. */
void fill(uint8_t *page, uint32_t seed);
bool filled(const uint8_t *page, uint32_t seed);

#endif
