/* Parked messages, against a plain array in the order of their coming. */
#include "check.h"

#include "base/status.h"
#include "mailbox/envelope.h"
#include "mailbox/park.h"

#define ENTRIES 4000
#define NODES 4
#define ACTORS 5 /* of each node */
#define TARGETS (NODES * ACTORS)

static uint64_t
number_of(uint64_t node, uint64_t index)
{
    return index << PN_NODE_BITS | (node + 1);
}

static uint64_t
any_target(test_random *random)
{
    uint64_t i = test_random_next(random) % TARGETS;
    return number_of(i % NODES, i / NODES);
}

static pn_parked
make_entry(uint64_t target, uint64_t id)
{
    return (pn_parked){.target = target, .id = id, .bytes = id % 7};
}

/* --- the model --- */

typedef struct {
    pn_parked *entries[ENTRIES]; /* the oldest first */
    size_t count;
    bool stopped[TARGETS];
    bool halted[NODES];
} model;

static bool *
model_stopped(model *m, uint64_t target)
{
    uint64_t node = pn_node_of(target) - 1, index = target >> PN_NODE_BITS;
    return &m->stopped[index * NODES + node];
}

static size_t
model_first(const model *m, uint64_t target)
{
    size_t i = 0;
    while (i < m->count && m->entries[i]->target != target)
        i++;
    return i;
}

static void
model_remove(model *m, size_t i)
{
    m->count--;
    memmove(&m->entries[i], &m->entries[i + 1],
            (m->count - i) * sizeof *m->entries);
}

static bool
model_may_go(model *m, uint64_t target)
{
    return !*model_stopped(m, target) && !m->halted[pn_node_of(target) - 1];
}

static bool
model_closed(model *m, uint64_t target)
{
    return !model_may_go(m, target) || model_first(m, target) < m->count;
}

static void
check_same(const pn_park *park, model *m)
{
    size_t bytes = 0;
    bool any = false;
    for (size_t i = 0; i < m->count; i++) {
        bytes += m->entries[i]->bytes;
        any = any || model_may_go(m, m->entries[i]->target);
    }
    CHECK(pn_park_check(park));
    CHECK_INT(park->count, m->count);
    CHECK_INT(park->bytes, bytes);
    CHECK((pn_park_next(park) != NULL) == any);
    for (uint64_t i = 0; i < TARGETS; i++) {
        uint64_t target = number_of(i % NODES, i / NODES);
        CHECK(pn_park_is_closed(park, target) == model_closed(m, target));
    }
}

/* --- what is done to both --- */

static void
take_next(pn_park *park, model *m)
{
    pn_parked *entry = pn_park_next(park);
    if (entry == NULL)
        return;
    size_t i = model_first(m, entry->target);
    CHECK(i < m->count && m->entries[i] == entry);
    CHECK(model_may_go(m, entry->target));
    pn_park_take(park, entry);
    model_remove(m, i);
}

static void
take_ask(pn_park *park, model *m, uint64_t id)
{
    size_t i = 0;
    while (i < m->count && m->entries[i]->id != id)
        i++;
    pn_parked *entry = pn_park_find(park, id);
    CHECK(entry == (i < m->count ? m->entries[i] : NULL));
    if (entry == NULL)
        return;
    pn_park_take(park, entry);
    model_remove(m, i);
}

static void
take_node(pn_park *park, model *m, uint64_t node)
{
    pn_parked *entry = pn_park_take_node(park, node + 1, false);
    for (; entry != NULL; entry = entry->next) {
        size_t i = model_first(m, entry->target);
        CHECK(m->entries[i] == entry && pn_node_of(entry->target) == node + 1);
        model_remove(m, i);
    }
    for (uint64_t i = 0; i < ACTORS; i++)
        *model_stopped(m, number_of(node, i)) = false;
    m->halted[node] = false;
    for (size_t i = 0; i < m->count; i++)
        CHECK(pn_node_of(m->entries[i]->target) != node + 1);
}

static void
steer(pn_park *park, model *m, test_random *random)
{
    uint64_t target = any_target(random), node = pn_node_of(target) - 1;
    switch (test_random_next(random) % 4) {
    case 0:
        CHECK_INT(pn_park_stop(park, target, 3), PN_OK);
        *model_stopped(m, target) = true;
        CHECK_INT(pn_park_depth(park, target), 3);
        break;
    case 1:
        pn_park_go(park, target);
        *model_stopped(m, target) = false;
        CHECK_INT(pn_park_depth(park, target), 0);
        break;
    case 2:
        CHECK_INT(pn_park_halt(park, node + 1), PN_OK);
        m->halted[node] = true;
        break;
    default:
        pn_park_release(park, node + 1);
        m->halted[node] = false;
    }
}

static void
test_random_schedule_agrees_with_an_array(void)
{
    static pn_parked entries[ENTRIES];
    static model m;
    test_random random;
    pn_park park = {0};
    uint64_t put = 0;
    test_random_init(&random);
    for (int step = 0; put < ENTRIES; step++) {
        uint64_t choice = test_random_next(&random) % 16;
        if (choice < (step / 500 % 2 == 0 ? 8u : 3u)) {
            pn_parked *entry = &entries[put++];
            *entry = make_entry(any_target(&random), put % 3 == 0 ? 0 : put);
            CHECK_INT(pn_park_put(&park, entry, ENTRIES, ENTRIES * 7), PN_OK);
            m.entries[m.count++] = entry;
        } else if (choice < 12) {
            take_next(&park, &m);
        } else if (choice < 14) {
            take_ask(&park, &m, 1 + test_random_next(&random) % (put + 1));
        } else if (test_random_next(&random) % 50 == 0) {
            take_node(&park, &m, test_random_next(&random) % NODES);
        } else {
            steer(&park, &m, &random);
        }
        if (step % 7 == 0)
            check_same(&park, &m);
    }
    CHECK(pn_park_take_node(&park, 0, true) != NULL || m.count == 0);
    CHECK(park.count == 0 && pn_park_check(&park));
    pn_park_free(&park);
    CHECK_INT(live_blocks(), 0);
}

/* --- by hand --- */

static void
test_zeroed_one_is_empty_and_open(void)
{
    pn_park park = {0};
    CHECK(pn_park_check(&park));
    CHECK(!pn_park_is_closed(&park, 5));
    CHECK(pn_park_next(&park) == NULL);
    CHECK(pn_park_find(&park, 1) == NULL);
    CHECK(pn_park_take_node(&park, 5, false) == NULL);
    pn_park_go(&park, 5);
    pn_park_release(&park, 5);
    pn_park_skip(&park);
    pn_park_free(&park);
    CHECK_INT(live_blocks(), 0);
}

static void
test_what_is_parked_goes_in_order_and_others_stay_behind_it(void)
{
    pn_park park = {0};
    pn_parked first = make_entry(5, 1), second = make_entry(5, 0);
    CHECK_INT(pn_park_stop(&park, 5, 0), PN_OK);
    CHECK(pn_park_is_closed(&park, 5) && !pn_park_is_closed(&park, 6));
    CHECK_INT(pn_park_put(&park, &first, 9, 99), PN_OK);
    CHECK_INT(pn_park_put(&park, &second, 9, 99), PN_OK);
    CHECK(pn_park_next(&park) == NULL);
    pn_park_go(&park, 5);
    CHECK(pn_park_next(&park) == &first);
    pn_park_take(&park, &first);
    CHECK(pn_park_is_closed(&park, 5));
    CHECK(pn_park_next(&park) == &second);
    pn_park_take(&park, &second);
    CHECK(!pn_park_is_closed(&park, 5));
    pn_park_free(&park);
    CHECK_INT(live_blocks(), 0);
}

static void
test_targets_take_turns(void)
{
    pn_park park = {0};
    pn_parked entries[] = {make_entry(5, 1), make_entry(5, 2),
                           make_entry(6, 3), make_entry(7, 4)};
    for (uint64_t i = 0; i < 4; i++)
        CHECK_INT(pn_park_put(&park, &entries[i], 9, 99), PN_OK);
    CHECK(pn_park_next(&park) == &entries[0]);
    pn_park_take(&park, &entries[0]);
    CHECK(pn_park_next(&park) == &entries[2]);
    pn_park_skip(&park);
    CHECK(pn_park_next(&park) == &entries[3]);
    pn_park_skip(&park);
    CHECK(pn_park_next(&park) == &entries[1]);
    CHECK(pn_park_take_node(&park, 0, true) != NULL);
    pn_park_free(&park);
    CHECK_INT(live_blocks(), 0);
}

static void
test_each_target_has_a_limit_of_its_own(void)
{
    pn_park park = {0};
    pn_parked entries[] = {make_entry(5, 6), make_entry(5, 13),
                           make_entry(5, 20), make_entry(6, 27)};
    CHECK_INT(pn_park_put(&park, &entries[0], 2, 99), PN_OK);
    CHECK_INT(pn_park_put(&park, &entries[1], 2, 99), PN_OK);
    CHECK_INT(pn_park_put(&park, &entries[2], 2, 99), PN_EFULL);
    CHECK_INT(pn_park_put(&park, &entries[2], 9, 12), PN_EFULL);
    CHECK(pn_park_find(&park, 20) == NULL && pn_park_check(&park));
    CHECK_INT(pn_park_put(&park, &entries[2], 9, 13), PN_OK);
    CHECK_INT(pn_park_put(&park, &entries[3], 1, 1), PN_OK);
    CHECK(pn_park_take_node(&park, 0, true) != NULL);
    pn_park_free(&park);
    CHECK_INT(live_blocks(), 0);
}

static void
test_a_full_queue_is_told_of_a_target_that_was_not_known(void)
{
    pn_park park = {0};
    pn_parked entry = make_entry(5, 1);
    CHECK_INT(pn_park_put(&park, &entry, 0, 99), PN_EFULL);
    CHECK(park.targets.count == 0 && !pn_park_is_closed(&park, 5));
    pn_park_free(&park);
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_nothing_changes(void)
{
    static pn_parked entries[200];
    for (long n = 0; n < 3; n++) {
        pn_park park = {0};
        size_t refused = 0;
        for (size_t i = 0; i < 200; i++) {
            entries[i] = make_entry(number_of(i % 40, 0), i + 1);
            fail_after(n);
            int err = pn_park_put(&park, &entries[i], 999, 9999);
            fail_never();
            if (err == PN_OK)
                continue;
            CHECK_INT(err, PN_ENOMEM);
            CHECK_INT(park.count, i);
            CHECK(pn_park_check(&park));
            CHECK_INT(pn_park_put(&park, &entries[i], 999, 9999), PN_OK);
            refused++;
        }
        CHECK(refused > 0 && pn_park_check(&park));
        fail_after(0);
        CHECK_INT(pn_park_stop(&park, number_of(41, 0), 0), PN_ENOMEM);
        CHECK_INT(pn_park_halt(&park, 41), PN_ENOMEM);
        fail_never();
        CHECK(pn_park_check(&park));
        CHECK(pn_park_take_node(&park, 0, true) != NULL);
        pn_park_free(&park);
        CHECK_INT(live_blocks(), 0);
    }
}

static void
test_all_of_a_node_may_go_at_once(void)
{
    pn_park park = {0};
    pn_parked waiting = make_entry(number_of(0, 2), 7);
    for (uint64_t index = 0; index < ACTORS; index++) {
        CHECK_INT(pn_park_stop(&park, number_of(0, index), 1), PN_OK);
        CHECK_INT(pn_park_stop(&park, number_of(1, index), 1), PN_OK);
    }
    CHECK_INT(pn_park_put(&park, &waiting, 10, 1000), PN_OK);
    CHECK(pn_park_next(&park) == NULL);
    pn_park_go_node(&park, 1);
    CHECK(pn_park_check(&park));
    CHECK(pn_park_next(&park) == &waiting);
    CHECK(!pn_park_is_closed(&park, number_of(0, 1)));
    CHECK(pn_park_is_closed(&park, number_of(1, 1)));
    pn_park_take(&park, &waiting);
    CHECK(pn_park_check(&park));
    CHECK(!pn_park_is_closed(&park, number_of(0, 2)));
    CHECK(pn_park_take_node(&park, 0, true) == NULL);
    pn_park_free(&park);
}

static void
test_actors_without_number_take_no_memory_without_end(void)
{
    pn_park park = {0};
    for (uint64_t index = 0; index < PN_PARK_TARGETS; index++)
        CHECK_INT(pn_park_stop(&park, number_of(0, index), 0), PN_OK);
    uint64_t other = number_of(0, PN_PARK_TARGETS);
    CHECK_INT(pn_park_stop(&park, other, 0), PN_EFULL);
    CHECK_INT(pn_park_stop(&park, number_of(0, 0), 3), PN_OK);
    CHECK(!pn_park_is_closed(&park, other));
    pn_park_go(&park, number_of(0, 1));
    CHECK_INT(pn_park_stop(&park, other, 0), PN_OK);
    CHECK(pn_park_take_node(&park, 0, true) == NULL);
    pn_park_free(&park);
}

int
main(void)
{
    RUN(test_all_of_a_node_may_go_at_once);
    RUN(test_actors_without_number_take_no_memory_without_end);
    RUN(test_zeroed_one_is_empty_and_open);
    RUN(test_what_is_parked_goes_in_order_and_others_stay_behind_it);
    RUN(test_targets_take_turns);
    RUN(test_each_target_has_a_limit_of_its_own);
    RUN(test_a_full_queue_is_told_of_a_target_that_was_not_known);
    RUN(test_without_memory_nothing_changes);
    RUN(test_random_schedule_agrees_with_an_array);
    return 0;
}
