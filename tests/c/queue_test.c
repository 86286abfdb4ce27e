/* The queue between threads: alone against a model, with a push that has
 * stopped half-way, and under load, where a lost wake-up would hang. */
#include "check.h"

#include "mailbox/queue.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

#define PRODUCERS 4
#define PUSHES 20000 /* of each */
#define PATIENCE 100 /* s; ctest has more */

typedef struct {
    pn_queue_node node; /* first: a node is its message */
    uint64_t producer;
    uint64_t serial;
} message;

static message *
take(pn_queue *queue)
{
    return (message *)pn_queue_take(queue);
}

static void
test_new_queue_is_empty_and_its_consumer_rests(void)
{
    pn_queue queue;
    message m;
    pn_queue_init(&queue);
    CHECK(take(&queue) == NULL);
    CHECK(take(&queue) == NULL);
    CHECK(pn_queue_push(&queue, &m.node));
    CHECK(take(&queue) == &m);
    CHECK(take(&queue) == NULL);
}

static void
test_one_push_between_two_rests_is_told_to_wake(void)
{
    pn_queue queue;
    message m[6];
    pn_queue_init(&queue);
    CHECK(pn_queue_push(&queue, &m[0].node));
    CHECK(!pn_queue_push(&queue, &m[1].node));
    CHECK(take(&queue) == &m[0] && take(&queue) == &m[1]);
    CHECK(!pn_queue_push(&queue, &m[2].node)); /* it has not rested yet */
    pn_queue_rest(&queue);
    CHECK(take(&queue) == &m[2]); /* so it looks once more */
    CHECK(pn_queue_push(&queue, &m[3].node));
    CHECK(!pn_queue_push(&queue, &m[4].node));
    pn_queue_rest(&queue);
    pn_queue_rest(&queue);
    CHECK(pn_queue_push(&queue, &m[5].node));
    for (size_t i = 3; i < 6; i++)
        CHECK(take(&queue) == &m[i]);
    CHECK(take(&queue) == NULL);
}

static void
test_node_may_be_pushed_again_at_once(void)
{
    pn_queue queue;
    message m;
    pn_queue_init(&queue);
    for (int i = 0; i < 100; i++) {
        (void)pn_queue_push(&queue, &m.node);
        CHECK(take(&queue) == &m);
        if (i % 3 == 0)
            CHECK(take(&queue) == NULL);
    }
}

/* The first half of a push, as its thread may stop there. */
static pn_queue_node *
begin_push(pn_queue *queue, pn_queue_node *node)
{
    atomic_store(&node->next, NULL);
    return atomic_exchange(&queue->last, node);
}

/* Behind `settled` whole pushes one has stopped half-way. Of what lies before
 * it the last cannot leave, and nobody waits for it. */
static void
check_half_push(size_t settled)
{
    pn_queue queue;
    message m[5];
    pn_queue_init(&queue);
    for (size_t i = 0; i < settled; i++)
        (void)pn_queue_push(&queue, &m[i].node);
    pn_queue_node *before = begin_push(&queue, &m[settled].node);
    for (size_t i = 0; i + 1 < settled; i++)
        CHECK(take(&queue) == &m[i]);
    CHECK(take(&queue) == NULL);
    (void)pn_queue_push(&queue, &m[settled + 1].node); /* not reachable yet */
    CHECK(take(&queue) == NULL);
    pn_queue_rest(&queue);
    CHECK(take(&queue) == NULL);
    atomic_store(&before->next, &m[settled].node);
    CHECK(!atomic_exchange(&queue.awake, true)); /* it is told to wake */
    for (size_t i = settled == 0 ? 0 : settled - 1; i < settled + 2; i++)
        CHECK(take(&queue) == &m[i]);
    CHECK(take(&queue) == NULL);
}

static void
test_push_that_stops_half_way_holds_nothing_up_but_itself(void)
{
    check_half_push(0);
    check_half_push(1);
    check_half_push(3);
}

static void
test_random_schedule_agrees_with_an_array(void)
{
    static message m[5000];
    test_random random;
    pn_queue queue;
    size_t pushed = 0, taken = 0;
    bool awake = false;
    test_random_init(&random);
    pn_queue_init(&queue);
    while (taken < 5000) {
        uint64_t choice = test_random_next(&random) % 8;
        if (choice == 0) {
            pn_queue_rest(&queue);
            awake = false;
        } else if (choice < 4 && pushed < 5000) {
            CHECK(pn_queue_push(&queue, &m[pushed++].node) == !awake);
            awake = true;
        } else {
            CHECK(take(&queue) == (taken < pushed ? &m[taken] : NULL));
            taken += taken < pushed;
        }
    }
    CHECK(take(&queue) == NULL);
}

/* --- under load --- */

typedef struct {
    pn_queue queue;
    sem_t wake;
    atomic_size_t told; /* pushes that had to wake the consumer */
    size_t rests;
    size_t sleeps;
} station;

typedef struct {
    station *to;
    uint64_t number;
    test_random random;
} producer;

static void
station_init(station *s)
{
    *s = (station){.rests = 1}; /* it begins at rest */
    pn_queue_init(&s->queue);
    CHECK(sem_init(&s->wake, 0, 0) == 0);
}

static void
push(station *s, message *m)
{
    if (!pn_queue_push(&s->queue, &m->node))
        return;
    atomic_fetch_add(&s->told, 1);
    CHECK(sem_post(&s->wake) == 0);
}

/* The next message; sleeps as a loop does, so that a lost wake-up shows. */
static message *
receive(station *s)
{
    message *m = take(&s->queue);
    struct timespec until;
    while (m == NULL) {
        s->rests++;
        pn_queue_rest(&s->queue);
        m = take(&s->queue);
        if (m != NULL)
            break;
        s->sleeps++;
        CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
        until.tv_sec += PATIENCE;
        CHECK(sem_timedwait(&s->wake, &until) == 0);
        m = take(&s->queue);
    }
    return m;
}

/* The end of a station, all its producers having returned. */
static void
station_end(station *s)
{
    CHECK(take(&s->queue) == NULL);
    CHECK(atomic_load(&s->told) <= s->rests);
    CHECK(s->sleeps <= atomic_load(&s->told));
    CHECK(sem_destroy(&s->wake) == 0);
}

static void *
produce(void *arg)
{
    producer *p = arg;
    for (uint64_t serial = 0; serial < PUSHES; serial++) {
        message *m = malloc(sizeof *m);
        CHECK(m != NULL);
        m->producer = p->number;
        m->serial = serial;
        push(p->to, m);
        if (test_random_next(&p->random) % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void
test_messages_of_many_threads_come_once_and_in_order(void)
{
    static station s;
    producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    uint64_t next[PRODUCERS] = {0};
    test_random random;
    test_random_init(&random);
    station_init(&s);
    for (size_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer){&s, i, {test_random_next(&random) | 1}};
        CHECK(pthread_create(&threads[i], NULL, produce, &producers[i]) == 0);
    }
    for (size_t count = 0; count < PRODUCERS * PUSHES; count++) {
        message *m = receive(&s);
        CHECK(m->producer < PRODUCERS);
        CHECK_INT(m->serial, next[m->producer]++);
        free(m);
    }
    for (size_t i = 0; i < PRODUCERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    station_end(&s);
}

/* Each message goes there and back: both sides sleep all the time. */
typedef struct {
    station here;
    station there;
} line;

static void *
send_back(void *arg)
{
    line *l = arg;
    bool more = true;
    while (more) {
        message *m = receive(&l->there);
        more = m->serial != 0;
        m->producer++;
        push(&l->here, m); /* not ours any more */
    }
    return NULL;
}

static void
test_both_ends_of_a_conversation_wake_each_other(void)
{
    static line l;
    pthread_t thread;
    message m = {.producer = 0};
    station_init(&l.here);
    station_init(&l.there);
    CHECK(pthread_create(&thread, NULL, send_back, &l) == 0);
    for (uint64_t left = PUSHES; left-- > 0;) {
        m.serial = left;
        push(&l.there, &m);
        CHECK(receive(&l.here) == &m);
        CHECK_INT(m.producer, PUSHES - left);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    station_end(&l.here);
    station_end(&l.there);
}

int
main(void)
{
    RUN(test_new_queue_is_empty_and_its_consumer_rests);
    RUN(test_one_push_between_two_rests_is_told_to_wake);
    RUN(test_node_may_be_pushed_again_at_once);
    RUN(test_push_that_stops_half_way_holds_nothing_up_but_itself);
    RUN(test_random_schedule_agrees_with_an_array);
    RUN(test_messages_of_many_threads_come_once_and_in_order);
    RUN(test_both_ends_of_a_conversation_wake_each_other);
    return 0;
}
