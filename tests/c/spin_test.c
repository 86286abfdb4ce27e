#include "check.h"
#include "sys/clock.h"
#include "sys/poller.h"
#include "sys/spin.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define LONGEST 200000 /* ns */

static pn_spin_page page;

/* An epoll set with the reading end of a pipe in it. */
typedef struct {
    pn_poller poller;
    int ends[2];
} watched;

static void
set_up(watched *w)
{
    memset(&page, 0, sizeof page);
    CHECK_INT(pipe(w->ends), 0);
    CHECK_INT(pn_poller_init(&w->poller), 0);
    CHECK_INT(pn_poller_add(&w->poller, w->ends[0], NULL, false), 0);
}

static void
tear_down(watched *w)
{
    pn_poller_close(&w->poller);
    CHECK_INT(close(w->ends[0]), 0);
    CHECK_INT(close(w->ends[1]), 0);
}

/* A spinner that may use as many processors as it likes to believe. */
static void
init_with(pn_spin *spin, watched *w, int processors)
{
    pn_spin_init(spin, &page, w->poller.fd, processors, LONGEST);
    spin->processors = processors;
    spin->counted_at = pn_clock_now() + 1000000000; /* counted already */
}

static void
test_what_is_ready_is_seen_awake(void)
{
    watched w;
    pn_spin spin;
    set_up(&w);
    init_with(&spin, &w, 2);
    CHECK_INT(write(w.ends[1], "x", 1), 1);
    CHECK(pn_spin_wait(&spin, -1));
    CHECK_INT(spin.next, LONGEST);
    tear_down(&w);
}

static void
test_spinning_in_vain_decays_to_nothing_and_costs_credit(void)
{
    watched w;
    pn_spin spin;
    set_up(&w);
    init_with(&spin, &w, 2);
    int64_t credit = spin.credit, last = spin.next;
    for (int i = 0; i < 20 && spin.next > 0; i++) {
        CHECK(!pn_spin_wait(&spin, -1));
        CHECK(spin.next <= last);
        last = spin.next;
    }
    CHECK(spin.next < 4000);
    CHECK(spin.credit < credit);
    tear_down(&w);
}

static void
test_a_short_sleep_brings_it_back_and_a_long_one_does_not(void)
{
    watched w;
    pn_spin spin;
    set_up(&w);
    init_with(&spin, &w, 2);
    spin.next = 0;
    CHECK(!pn_spin_wait(&spin, -1));
    spin.slept_at -= 1000000000;
    pn_spin_woke(&spin);
    CHECK_INT(spin.next, 0);
    CHECK(!pn_spin_wait(&spin, -1));
    spin.slept_at = pn_clock_now();
    pn_spin_woke(&spin);
    CHECK_INT(spin.next, LONGEST);
    tear_down(&w);
}

static void
test_no_credit_means_no_spinning(void)
{
    watched w;
    pn_spin spin;
    set_up(&w);
    init_with(&spin, &w, 2);
    CHECK_INT(write(w.ends[1], "x", 1), 1);
    spin.credit = -1000000000;
    CHECK(!pn_spin_wait(&spin, -1));
    tear_down(&w);
}

static void
test_one_processor_means_no_spinning(void)
{
    watched w;
    pn_spin spin;
    set_up(&w);
    init_with(&spin, &w, 1);
    CHECK_INT(write(w.ends[1], "x", 1), 1);
    CHECK(!pn_spin_wait(&spin, -1));
    tear_down(&w);
}

static void
test_affinity_bounds_the_processors(void)
{
    watched w;
    pn_spin spin;
    cpu_set_t before, one;
    set_up(&w);
    CHECK_INT(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    CHECK_INT(sched_setaffinity(0, sizeof one, &one), 0);
    pn_spin_init(&spin, &page, w.poller.fd, 64, LONGEST);
    CHECK_INT(write(w.ends[1], "x", 1), 1);
    CHECK(!pn_spin_wait(&spin, -1));
    CHECK_INT(spin.processors, 1);
    CHECK_INT(sched_setaffinity(0, sizeof before, &before), 0);
    tear_down(&w);
}

static void
test_held_slots_are_respected_until_their_time(void)
{
    watched w;
    pn_spin spin;
    set_up(&w);
    init_with(&spin, &w, 2);
    CHECK_INT(write(w.ends[1], "x", 1), 1);
    atomic_store(&page.held_until[0], pn_clock_now() + 1000000000);
    CHECK(!pn_spin_wait(&spin, -1));
    atomic_store(&page.held_until[0], pn_clock_now() - 1);
    CHECK(pn_spin_wait(&spin, -1));
    CHECK_INT(atomic_load(&page.held_until[0]), 0);
    tear_down(&w);
}

static void
test_a_short_timeout_bounds_the_attempt(void)
{
    watched w;
    pn_spin spin;
    set_up(&w);
    init_with(&spin, &w, 2);
    CHECK_INT(write(w.ends[1], "x", 1), 1);
    CHECK(!pn_spin_wait(&spin, 100)); /* too short to try */
    CHECK(pn_spin_wait(&spin, 100000));
    tear_down(&w);
}

#define THREADS 4
#define ROUNDS 200

/* One thread that spins in vain, again and again, on the shared page. */
static void *
spin_in_vain(void *argument)
{
    watched *w = argument;
    pn_spin spin;
    for (int i = 0; i < ROUNDS; i++) {
        init_with(&spin, w, 2);
        spin.longest = spin.next = 20000;
        if (pn_spin_wait(&spin, -1))
            abort();
    }
    return NULL;
}

static void
test_threads_share_the_slots_and_leave_them_free(void)
{
    watched w;
    pthread_t threads[THREADS];
    set_up(&w);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, spin_in_vain, &w), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK(atomic_load(&page.held_until[0]) < pn_clock_now());
    CHECK_INT(atomic_load(&page.held_until[1]), 0); /* one slot only */
    tear_down(&w);
}

int
main(void)
{
    RUN(test_what_is_ready_is_seen_awake);
    RUN(test_spinning_in_vain_decays_to_nothing_and_costs_credit);
    RUN(test_a_short_sleep_brings_it_back_and_a_long_one_does_not);
    RUN(test_no_credit_means_no_spinning);
    RUN(test_one_processor_means_no_spinning);
    RUN(test_affinity_bounds_the_processors);
    RUN(test_held_slots_are_respected_until_their_time);
    RUN(test_a_short_timeout_bounds_the_attempt);
    RUN(test_threads_share_the_slots_and_leave_them_free);
    return 0;
}
