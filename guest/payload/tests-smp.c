/*
 * Tests with several CPUs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

/* How many loops a CPU counts before it looks for a job */
#define COUNT_BATCH     1000
#define CONTEND_SAVES   50

typedef enum Job {
    JOB_WAIT,           /* do nothing */
    JOB_COUNT,          /* count, and check that nothing but we counted */
    JOB_RESTORE,        /* restore the machine */
    JOB_CONTEND,        /* save as fast as possible, at the same time */
} Job;

/* One for each CPU but the first, which gives the jobs */
typedef struct Worker {
    uint32_t job;       /* set by the first CPU */
    uint32_t count;     /* kept in a register too, and compared with it */
    uint32_t epoch;     /* the last epoch this CPU saw */
    uint32_t torn;      /* count differed from the register */
    uint32_t saves;     /* JOB_CONTEND: how many succeeded */
    uint32_t finished;  /* JOB_CONTEND: no more to come */
    uint32_t result;    /* of a command that should not have returned */
} Worker;

static Worker workers[MAX_CPUS - 1];
static uint32_t epoch;  /* changed between save and restore */

/*
 * Count in a register and in memory.  Were memory taken at another instant
 * than the registers, the two would differ after a restore.
 */
static void count_batch(Worker *w)
{
    uint32_t loops = COUNT_BATCH;
    uint32_t count = w->count;
    uint32_t seen;

    asm volatile(
        "1: cmpl    %[count], %[memory]\n"
        "   jne     2f\n"
        "   incl    %[count]\n"
        "   movl    %[count], %[memory]\n"
        "   movl    %[now], %[seen]\n"
        "   movl    %[seen], %[last]\n"
        "   decl    %[loops]\n"
        "   jnz     1b\n"
        "   jmp     3f\n"
        "2: movl    $1, %[torn]\n"
        "3:\n"
        : [count] "+r"(count), [loops] "+r"(loops), [seen] "=&r"(seen),
          [memory] "+m"(w->count), [last] "=m"(w->epoch), [torn] "+m"(w->torn)
        : [now] "m"(epoch)
        : "cc");
}

static void contend(Worker *w)
{
    for (unsigned int i = 0; i < CONTEND_SAVES; i++) {
        switch (snapshot_mmio_save(bar)) {
        case SNAPSHOT_RES_DONE:
            store(&w->saves, load(&w->saves) + 1);
            break;
        case SNAPSHOT_RES_PENDING:      /* another CPU's */
        case SNAPSHOT_RES_BUSY:
            break;
        default:
            store(&w->result, snapshot_mmio_read32(bar, SNAPSHOT_REG_RESULT));
        }
    }
    store(&w->finished, 1);
}

void ap_main(unsigned int index)
{
    Worker *w = &workers[index];

    load_idt();
    if (opt.paging) {
        paging_enable();
    }
    if (opt.hostile) {
        hostile_aside(index);
    }
    for (;;) {
        switch (load(&w->job)) {
        case JOB_COUNT:
            count_batch(w);
            break;
        case JOB_RESTORE:
            store(&w->result, snapshot_mmio_restore(bar));
            store(&w->job, JOB_COUNT);
            break;
        case JOB_CONTEND:
            contend(w);
            store(&w->job, JOB_WAIT);
            break;
        }
        relax();
    }
}

static void give_job(Job job)
{
    for (unsigned int i = 0; i < cpus - 1; i++) {
        store(&workers[i].job, job);
    }
}

/* Wait until every other CPU has counted on and has seen the epoch. */
static void wait_for_progress(uint32_t done)
{
    for (unsigned int i = 0; i < cpus - 1; i++) {
        Worker *w = &workers[i];
        uint32_t start = load(&w->count);

        while (load(&w->count) - start < 2 * COUNT_BATCH ||
               load(&w->epoch) != load(&epoch)) {
            if (load(&w->torn)) {
                fail("after restore %u, CPU %u has %u in memory and another "
                     "count in its register", done, i + 1, load(&w->count));
            }
            if (load(&w->result)) {
                fail("CPU %u could not restore: %u", i + 1, load(&w->result));
            }
            relax();
        }
    }
}

/*
 * Every other CPU counts all the time, whatever the first one does.  After a
 * restore none of them may still know anything from after the save, and they
 * go on counting.  The CPUs take turns to restore.
 */
void test_smp(void)
{
    uint32_t done;

    if (cpus == 1) {
        skip("only one CPU");
        return;
    }
    store(&epoch, 0);
    give_job(JOB_COUNT);
    wait_for_progress(0);
    done = save();
    for (unsigned int i = 0; i < cpus - 1; i++) {
        if (load(&epoch) || load(&workers[i].epoch)) {
            fail("after restore %u, CPU %u knows epoch %u", done, i + 1,
                 load(&workers[i].epoch));
        }
    }
    wait_for_progress(done);
    store(&epoch, done + 1);
    wait_for_progress(done);
    if (done < opt.restores && done % cpus) {
        store(&workers[done % cpus - 1].job, JOB_RESTORE);
        for (;;) {
            wait_for_progress(done);
        }
    }
    restore_until(done, opt.restores);
    give_job(JOB_WAIT);
}

/* Commands from all CPUs at once: each is carried out or is told to wait */
void test_contend(void)
{
    uint32_t saves = 0;

    if (cpus == 1) {
        skip("only one CPU");
        return;
    }
    give_job(JOB_CONTEND);
    for (unsigned int i = 0; i < cpus - 1; i++) {
        while (!load(&workers[i].finished)) {
            relax();
        }
        if (load(&workers[i].result)) {
            fail("CPU %u got result %u", i + 1, load(&workers[i].result));
        }
        saves += load(&workers[i].saves);
    }
    if (!saves) {
        fail("no save succeeded");
    }
    restore_until(save(), 1);
}
