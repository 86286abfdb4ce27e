/* The heap of deadlines against an array without order. */
#include "check.h"

#include "base/status.h"
#include "mailbox/deadlines.h"

/* The model: what was added, and whether it has been taken or is settled. */
#define MODEL_SIZE 3000

typedef struct {
    int64_t due[MODEL_SIZE]; /* 0: taken */
    bool settled[MODEL_SIZE];
    size_t count;
} model;

static int64_t
model_next(const model *m)
{
    int64_t next = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->due[i] != 0 && (next == 0 || m->due[i] < next))
            next = m->due[i];
    }
    return next;
}

static size_t
model_live(const model *m)
{
    size_t live = 0;
    for (size_t i = 0; i < m->count; i++)
        live += m->due[i] != 0 && !m->settled[i];
    return live;
}

static void
add(pn_deadlines *heap, model *m, int64_t due)
{
    CHECK_INT(pn_deadlines_add(heap, due, m->count, ~(uint64_t)m->count),
              PN_OK);
    m->due[m->count++] = due;
}

/* Take all that is due; settled entries come too, if they were not swept. */
static void
take_due(pn_deadlines *heap, model *m, int64_t now)
{
    pn_deadline out;
    int64_t last = 0;
    while (pn_deadlines_take(heap, now, &out)) {
        CHECK(out.due >= last && out.due <= now);
        CHECK(out.key < m->count && out.owner == ~out.key);
        CHECK_INT(m->due[out.key], out.due); /* once */
        m->due[out.key] = 0;
        last = out.due;
    }
    for (size_t i = 0; i < m->count; i++)
        CHECK(m->due[i] == 0 || m->due[i] > now);
}

static bool
is_settled(void *arg, const pn_deadline *entry)
{
    const model *m = arg;
    CHECK(entry->key < m->count && m->due[entry->key] == entry->due);
    return m->settled[entry->key];
}

/* All that is settled is gone, or nothing is. */
static void
sweep(pn_deadlines *heap, model *m)
{
    size_t live = model_live(m), before = heap->count;
    pn_deadlines_sweep(heap, live, is_settled, m);
    CHECK(heap->count == before || heap->count == live);
    CHECK(heap->count <= 2 * live + 100);
    if (heap->count == before)
        return;
    for (size_t i = 0; i < m->count; i++) {
        if (m->settled[i])
            m->due[i] = 0;
    }
}

static void
run_schedule(test_random *random, uint64_t spread)
{
    static model m;
    pn_deadlines heap = {0};
    memset(&m, 0, sizeof m);
    int64_t now = 1000;
    while (m.count < MODEL_SIZE) {
        uint64_t choice = test_random_next(random) % 64;
        if (choice == 0) {
            now += (int64_t)(test_random_next(random) % spread);
            take_due(&heap, &m, now);
        } else if (choice == 1) {
            sweep(&heap, &m);
        } else if (choice < 40) {
            add(&heap, &m, now + (int64_t)(test_random_next(random) % spread));
        } else if (m.count > 0) {
            m.settled[test_random_next(random) % m.count] = true;
        }
        CHECK(pn_deadlines_check(&heap));
        if (choice < 4)
            CHECK_INT(pn_deadlines_next(&heap), model_next(&m));
    }
    take_due(&heap, &m, INT64_MAX);
    CHECK_INT(heap.count, 0);
    pn_deadlines_free(&heap);
    CHECK_INT(live_blocks(), 0);
}

static void
test_random_schedule_agrees_with_an_array(void)
{
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 5; i++) {
        run_schedule(&random, 2);
        run_schedule(&random, 100);
        run_schedule(&random, 1000000);
    }
}

static void
test_zeroed_heap_is_empty(void)
{
    pn_deadlines heap = {0};
    pn_deadline out = {.key = 4711};
    CHECK(pn_deadlines_check(&heap));
    CHECK_INT(pn_deadlines_next(&heap), 0);
    CHECK(!pn_deadlines_take(&heap, INT64_MAX, &out));
    CHECK_INT(out.key, 4711);
    pn_deadlines_sweep(&heap, 0, NULL, NULL);
    pn_deadlines_free(&heap);
    pn_deadlines_free(&heap);
    CHECK_INT(live_blocks(), 0);
}

static void
test_entry_is_due_at_its_time_and_not_before(void)
{
    pn_deadlines heap = {0};
    pn_deadline out;
    CHECK_INT(pn_deadlines_add(&heap, 50, 1, 2), PN_OK);
    CHECK_INT(pn_deadlines_next(&heap), 50);
    CHECK(!pn_deadlines_take(&heap, 49, &out));
    CHECK(pn_deadlines_take(&heap, 50, &out));
    CHECK(out.due == 50 && out.key == 1 && out.owner == 2);
    CHECK_INT(pn_deadlines_next(&heap), 0);
    CHECK(!pn_deadlines_take(&heap, 50, &out));
    pn_deadlines_free(&heap);
}

static void
test_time_that_has_passed_is_told_from_none(void)
{
    static const int64_t passed[] = {INT64_MIN, -1, 0, 1};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        pn_deadlines heap = {0};
        pn_deadline out;
        CHECK_INT(pn_deadlines_add(&heap, INT64_MAX, 1, 1), PN_OK);
        CHECK_INT(pn_deadlines_add(&heap, passed[i], 2, 2), PN_OK);
        CHECK_INT(pn_deadlines_next(&heap), 1);
        CHECK(pn_deadlines_take(&heap, 1, &out) && out.key == 2);
        CHECK(!pn_deadlines_take(&heap, INT64_MAX - 1, &out));
        CHECK(pn_deadlines_take(&heap, INT64_MAX, &out) && out.key == 1);
        pn_deadlines_free(&heap);
    }
}

static bool
count_settled(void *arg, const pn_deadline *entry)
{
    size_t *asked = arg;
    (*asked)++;
    return entry->owner == 0;
}

/* Asks that are answered long before their deadlines: the heap stays small,
 * and sweeping does not cost more than two looks for each of them. */
static void
test_settled_entries_do_not_pile_up(void)
{
    enum { LIVE = 1000, ADDED = 100000 };
    pn_deadlines heap = {0};
    size_t asked = 0, longest = 0;
    for (int64_t i = 1; i <= LIVE; i++)
        CHECK_INT(pn_deadlines_add(&heap, i * 1000, 1, 1), PN_OK);
    for (int64_t i = 1; i <= ADDED; i++) {
        CHECK_INT(pn_deadlines_add(&heap, i, 0, 0), PN_OK);
        pn_deadlines_sweep(&heap, LIVE, count_settled, &asked);
        longest = heap.count > longest ? heap.count : longest;
    }
    CHECK(longest <= 2 * LIVE + 100);
    CHECK(asked <= 2 * (ADDED + LIVE));
    pn_deadlines_sweep(&heap, 0, count_settled, &asked);
    CHECK_INT(heap.count, LIVE);
    CHECK(pn_deadlines_check(&heap));
    pn_deadlines_free(&heap);
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_nothing_changes(void)
{
    pn_deadlines heap = {0};
    int64_t added = 0;
    for (int growth = 0; growth < 5; growth++) {
        fail_after(0);
        while (pn_deadlines_add(&heap, 1000 - added, 1, 1) == PN_OK)
            added++;
        CHECK_INT(heap.count, added);
        CHECK_INT(pn_deadlines_next(&heap), added == 0 ? 0 : 1001 - added);
        CHECK(pn_deadlines_check(&heap));
        fail_never();
        CHECK_INT(pn_deadlines_add(&heap, 1000 - added, 1, 1), PN_OK);
        added++;
    }
    pn_deadlines_free(&heap);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_zeroed_heap_is_empty);
    RUN(test_entry_is_due_at_its_time_and_not_before);
    RUN(test_time_that_has_passed_is_told_from_none);
    RUN(test_settled_entries_do_not_pile_up);
    RUN(test_without_memory_nothing_changes);
    RUN(test_random_schedule_agrees_with_an_array);
    return 0;
}
