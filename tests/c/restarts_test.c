/* One supervisor, driven through years by a clock that is a number. */
#include "check.h"

#include "actor/restarts.h"
#include "base/status.h"

#define SECOND 1000000000LL
#define DAY (86400 * SECOND)

static pn_restarts_rules
rules_of(pn_strategy strategy, uint32_t max)
{
    return (pn_restarts_rules){.strategy = strategy,
                               .max_restarts = max,
                               .within = 10 * SECOND,
                               .backoff = SECOND,
                               .backoff_max = 30 * SECOND};
}

static void
init(pn_restarts *sup, pn_strategy strategy, uint32_t max)
{
    pn_restarts_rules rules = rules_of(strategy, max);
    CHECK_INT(pn_restarts_init(sup, &rules), PN_OK);
}

static pn_child *
add(pn_restarts *sup, pn_restart restart)
{
    uint64_t id;
    CHECK_INT(pn_restarts_add(sup, restart, 0, &id), PN_OK);
    pn_child *child = pn_restarts_child(sup, id);
    CHECK(child != NULL && child->state == PN_CHILD_IDLE);
    return child;
}

static pn_child *
add_running(pn_restarts *sup, pn_restart restart)
{
    pn_child *child = add(sup, restart);
    pn_restarts_start(sup, child);
    pn_restarts_up(sup, child, 0);
    CHECK_INT(child->state, PN_CHILD_UP);
    return child;
}

/* The actions of the last event in letters, each with the child's id: one
 * that starts is "s", stops "x", waits "w", escalates "e"; "." is the end. */
static void
expect(const pn_restarts *sup, const char *wanted)
{
    char got[256], *end = got;
    for (size_t i = 0; i < sup->action_count && i < 20; i++) {
        const pn_sup_action *action = &sup->actions[i];
        *end++ = "sxwe."[action->what];
        if (action->id > 0)
            end += sprintf(end, "%d", (int)action->id);
    }
    *end = 0;
    if (strcmp(got, wanted) != 0) {
        fprintf(stderr, "actions %s, wanted %s\n", got, wanted);
        exit(1);
    }
    CHECK(pn_restarts_check(sup));
}

static void
finish(pn_restarts *sup)
{
    pn_restarts_free(sup);
    CHECK_INT(live_blocks(), 0);
}

static void
test_only_what_is_to_return_returns(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, 10);
    for (pn_restart restart = PN_TEMPORARY; restart <= PN_PERMANENT;
         restart++) {
        for (int abnormal = 0; abnormal < 2; abnormal++) {
            pn_child *child = add_running(&sup, restart);
            pn_restarts_down(&sup, child, abnormal != 0, SECOND, 0);
            bool returns = restart == PN_PERMANENT ||
                           (restart == PN_TRANSIENT && abnormal);
            CHECK_INT(child->state,
                      returns ? PN_CHILD_WAITING : PN_CHILD_ENDED);
            CHECK(pn_restarts_check(&sup));
        }
    }
    finish(&sup);
}

static void
test_backoff_doubles_and_is_short_again_after_calm(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, 100);
    pn_child *child = add_running(&sup, PN_PERMANENT);
    int64_t now = SECOND;
    for (int i = 0; i < 8; i++) {
        pn_restarts_down(&sup, child, true, now, 0);
        expect(&sup, "w1");
        int64_t delay =
            (SECOND << i) < 30 * SECOND ? SECOND << i : 30 * SECOND;
        CHECK_INT(pn_restarts_due(&sup), now + delay / 2);
        pn_restarts_tick(&sup, now + delay / 2 - 1);
        expect(&sup, "");
        pn_restarts_tick(&sup, now += delay / 2);
        expect(&sup, "s1");
        pn_restarts_up(&sup, child, now);
        now++;
    }
    now += 10 * SECOND;
    pn_restarts_down(&sup, child, true, now, 0);
    CHECK_INT(pn_restarts_due(&sup), now + SECOND / 2);
    finish(&sup);
}

static void
test_too_many_restarts_stop_all_in_reverse_order(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, 2);
    pn_child *children[4];
    for (int i = 0; i < 4; i++)
        children[i] = add_running(&sup, PN_PERMANENT);
    for (int64_t i = 0; i < 2; i++) {
        pn_restarts_down(&sup, children[1], true, i, 0);
        expect(&sup, "w2");
        pn_restarts_tick(&sup, 9 * SECOND);
        expect(&sup, "s2");
    }
    pn_restarts_down(&sup, children[1], true, 9 * SECOND, 0);
    expect(&sup, "e2x4");
    pn_restarts_down(&sup, children[3], false, 9 * SECOND, 0);
    expect(&sup, "x3");
    pn_restarts_down(&sup, children[2], true, 9 * SECOND, 0);
    expect(&sup, "x1");
    pn_restarts_start(&sup, children[3]);
    expect(&sup, "");
    pn_restarts_down(&sup, children[0], true, 9 * SECOND, 0);
    expect(&sup, ".");
    CHECK_INT(sup.phase, PN_SUP_CLOSED);
    CHECK_INT(pn_restarts_due(&sup), INT64_MAX);
    finish(&sup);
}

static void
test_one_for_all_stops_and_starts_in_order(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ALL, 5);
    pn_child *children[3];
    for (int i = 0; i < 3; i++)
        children[i] = add_running(&sup, PN_PERMANENT);
    pn_restarts_down(&sup, children[1], true, SECOND, 0);
    expect(&sup, "w2x3");
    pn_restarts_down(&sup, children[2], true, SECOND, 0);
    expect(&sup, "x1");
    pn_restarts_down(&sup, children[0], true, SECOND, 0);
    expect(&sup, "");
    pn_restarts_tick(&sup, 2 * SECOND);
    expect(&sup, "s1");
    for (int i = 0; i < 3; i++) {
        static const char *const next[] = {"s2", "s3", ""};
        pn_restarts_up(&sup, children[i], 2 * SECOND);
        expect(&sup, next[i]);
    }
    CHECK_INT(sup.phase, PN_SUP_OPEN);
    finish(&sup);
}

static void
test_rest_for_one_leaves_the_earlier_ones(void)
{
    pn_restarts sup;
    init(&sup, PN_REST_FOR_ONE, 5);
    pn_child *children[4];
    for (int i = 0; i < 4; i++)
        children[i] = add_running(&sup, i == 3 ? PN_TEMPORARY : PN_PERMANENT);
    pn_restarts_down(&sup, children[1], true, SECOND, 0);
    expect(&sup, "w2x4");
    pn_restarts_down(&sup, children[3], true, SECOND, 0);
    expect(&sup, "x3");
    pn_restarts_down(&sup, children[2], true, SECOND, 0);
    pn_restarts_tick(&sup, 2 * SECOND);
    expect(&sup, "s2");
    pn_restarts_up(&sup, children[1], 2 * SECOND);
    expect(&sup, "s3");
    pn_restarts_up(&sup, children[2], 2 * SECOND);
    expect(&sup, "");
    CHECK_INT(children[0]->starts, 1);
    CHECK_INT(children[3]->state, PN_CHILD_ENDED);
    finish(&sup);
}

static void
test_earlier_end_widens_the_group(void)
{
    pn_restarts sup;
    init(&sup, PN_REST_FOR_ONE, 5);
    pn_child *children[3];
    for (int i = 0; i < 3; i++)
        children[i] = add_running(&sup, PN_PERMANENT);
    pn_restarts_down(&sup, children[2], true, SECOND, 0);
    expect(&sup, "w3");
    pn_restarts_down(&sup, children[0], true, SECOND, 0);
    expect(&sup, "w1x2");
    pn_restarts_down(&sup, children[1], true, SECOND, 0);
    pn_restarts_tick(&sup, 2 * SECOND);
    expect(&sup, "s1");
    finish(&sup);
}

static void
test_end_while_the_group_starts_begins_anew(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ALL, 5);
    pn_child *one = add_running(&sup, PN_PERMANENT);
    pn_child *two = add_running(&sup, PN_PERMANENT);
    pn_restarts_down(&sup, two, true, SECOND, 0);
    pn_restarts_down(&sup, one, false, SECOND, 0);
    pn_restarts_tick(&sup, 2 * SECOND);
    expect(&sup, "s1");
    pn_restarts_up(&sup, one, 2 * SECOND);
    expect(&sup, "s2");
    pn_restarts_down(&sup, two, true, 2 * SECOND, 0);
    expect(&sup, "w2x1");
    pn_restarts_down(&sup, one, false, 2 * SECOND, 0);
    CHECK_INT(pn_restarts_due(&sup), 3 * SECOND);
    pn_restarts_tick(&sup, 3 * SECOND);
    expect(&sup, "s1");
    finish(&sup);
}

static void
test_those_of_one_rank_stop_at_once(void)
{
    pn_restarts sup;
    uint64_t id;
    init(&sup, PN_ONE_FOR_ONE, 5);
    pn_child *one = add_running(&sup, PN_PERMANENT);
    pn_child *last = add_running(&sup, PN_PERMANENT);
    CHECK_INT(pn_restarts_add(&sup, PN_PERMANENT, one->id, &id), PN_OK);
    pn_child *peer = pn_restarts_child(&sup, id);
    pn_restarts_start(&sup, peer);
    pn_restarts_stop(&sup);
    expect(&sup, "x2");
    pn_restarts_down(&sup, last, false, 0, 0);
    expect(&sup, "x3x1");
    pn_restarts_down(&sup, peer, false, 0, 0);
    expect(&sup, "");
    pn_restarts_down(&sup, one, false, 0, 0);
    expect(&sup, ".");
    finish(&sup);
}

static void
test_stop_of_nothing_is_over_at_once(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, 5);
    pn_child *child = add_running(&sup, PN_PERMANENT);
    pn_restarts_down(&sup, child, true, 0, 0);
    pn_restarts_stop(&sup);
    expect(&sup, ".");
    pn_restarts_stop(&sup);
    expect(&sup, "");
    pn_restarts_tick(&sup, DAY);
    expect(&sup, "");
    finish(&sup);
}

static void
test_child_is_halted_and_started_again_by_order(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, 0);
    pn_child *child = add_running(&sup, PN_PERMANENT);
    pn_restarts_again(&sup, child);
    expect(&sup, "x1");
    pn_restarts_down(&sup, child, true, 0, 0);
    expect(&sup, "s1");
    pn_restarts_halt(&sup, child);
    expect(&sup, "x1");
    CHECK(!pn_restarts_remove(&sup, child));
    pn_restarts_down(&sup, child, true, 0, 0);
    expect(&sup, "");
    pn_restarts_again(&sup, child);
    expect(&sup, "s1");
    pn_restarts_halt(&sup, child);
    pn_restarts_down(&sup, child, true, 0, 0);
    CHECK(pn_restarts_remove(&sup, child));
    CHECK(pn_restarts_child(&sup, 1) == NULL);
    finish(&sup);
}

static void
test_late_news_are_ignored(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, 5);
    pn_child *child = add(&sup, PN_PERMANENT);
    pn_restarts_up(&sup, child, 0);
    expect(&sup, "");
    pn_restarts_down(&sup, child, true, 0, 0);
    expect(&sup, "");
    CHECK_INT(child->state, PN_CHILD_IDLE);
    pn_restarts_start(&sup, child);
    pn_restarts_start(&sup, child);
    expect(&sup, "");
    pn_restarts_halt(&sup, child);
    pn_restarts_up(&sup, child, 0);
    CHECK_INT(child->state, PN_CHILD_STOPPING);
    finish(&sup);
}

/* Ten years: an end every hour never escalates, and is never forgotten. */
static void
test_years_of_rare_ends_never_escalate(void)
{
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, 1);
    pn_child *child = add_running(&sup, PN_PERMANENT);
    int64_t now = 0;
    for (int hour = 0; hour < 10 * 365 * 24; hour++) {
        now += 3600 * SECOND;
        pn_restarts_down(&sup, child, true, now, ~(uint64_t)0);
        CHECK_INT(sup.action_count, 1);
        CHECK(pn_restarts_due(&sup) <= now + SECOND);
        pn_restarts_tick(&sup, now + SECOND);
        CHECK_INT(child->state, PN_CHILD_STARTING);
        pn_restarts_up(&sup, child, now + SECOND);
    }
    CHECK_INT(child->starts, 10 * 365 * 24 + 1);
    finish(&sup);
}

static void
test_hundred_thousand_children_restart_one_by_one(void)
{
    enum { COUNT = 100000 };
    pn_restarts sup;
    init(&sup, PN_ONE_FOR_ONE, PN_MAX_RESTARTS);
    for (int i = 0; i < COUNT; i++)
        add_running(&sup, PN_PERMANENT);
    for (uint64_t id = 1; id <= COUNT; id++) {
        pn_child *child = pn_restarts_child(&sup, id);
        pn_restarts_down(&sup, child, true, (int64_t)id, id * 2654435761u);
    }
    CHECK(pn_restarts_check(&sup));
    pn_restarts_tick(&sup, 2 * SECOND);
    CHECK_INT(sup.action_count, COUNT);
    pn_restarts_stop(&sup);
    size_t stopped = 0;
    while (sup.actions[0].what == PN_DO_STOP) {
        CHECK_INT(sup.actions[0].id, COUNT - stopped);
        pn_child *child = pn_restarts_child(&sup, sup.actions[0].id);
        pn_restarts_down(&sup, child, false, 3 * SECOND, 0);
        stopped++;
    }
    CHECK_INT(stopped, COUNT);
    finish(&sup);
}

static void
random_event(pn_restarts *sup, test_random *random, int64_t now)
{
    uint64_t id = 1 + test_random_next(random) % sup->next_id;
    uint64_t choice = test_random_next(random) % 100, added;
    pn_child *child = pn_restarts_child(sup, id);
    if (choice < 6)
        (void)pn_restarts_add(sup, (pn_restart)(choice % 3),
                              choice < 3 ? 0 : id, &added);
    else if (child == NULL || choice < 20)
        pn_restarts_tick(sup, now);
    else if (choice < 35)
        pn_restarts_start(sup, child);
    else if (choice < 60)
        pn_restarts_up(sup, child, now);
    else if (choice < 90)
        pn_restarts_down(sup, child, choice % 2 == 0, now, choice * 77777);
    else if (choice < 93)
        pn_restarts_halt(sup, child);
    else if (choice < 96)
        pn_restarts_again(sup, child);
    else if (choice < 98)
        (void)pn_restarts_remove(sup, child);
    else if (choice == 98 && test_random_next(random) % 10 == 0)
        pn_restarts_stop(sup);
}

/* Whatever the order of events, the invariants hold, and once all that stops
 * has stopped a supervisor that ends is over. */
static void
test_invariants_hold_in_random_schedules(void)
{
    test_random random;
    test_random_init(&random);
    for (int schedule = 0; schedule < 2000; schedule++) {
        pn_restarts sup;
        int64_t now = 0;
        init(&sup, (pn_strategy)(schedule % 3), (uint32_t)(schedule % 50));
        for (int step = 0; step < 150; step++) {
            now += (int64_t)(test_random_next(&random) % (2 * SECOND));
            random_event(&sup, &random, now);
            CHECK(pn_restarts_check(&sup));
        }
        pn_restarts_stop(&sup);
        for (pn_child *child = sup.last; child != NULL;
             child = child->previous) {
            for (uint64_t id = 1; id < sup.next_id; id++) {
                pn_child *peer = pn_restarts_child(&sup, id);
                if (peer != NULL && peer->state == PN_CHILD_STOPPING)
                    pn_restarts_down(&sup, peer, true, now, 0);
            }
        }
        CHECK_INT(sup.phase, PN_SUP_CLOSED);
        finish(&sup);
    }
}

static void
test_without_memory_nothing_changes(void)
{
    for (long n = 0; n < 20; n++) {
        pn_restarts sup;
        uint64_t id = 0;
        pn_restarts_rules rules = rules_of(PN_ONE_FOR_ALL, 5);
        fail_after(n);
        if (pn_restarts_init(&sup, &rules) == PN_OK) {
            while (id < 40 &&
                   pn_restarts_add(&sup, PN_PERMANENT, 0, &id) == PN_OK) {
            }
            fail_never();
            CHECK(pn_restarts_check(&sup));
            CHECK_INT(sup.children.count, id);
            CHECK_INT(pn_restarts_add(&sup, PN_TRANSIENT, id, &id), PN_OK);
            CHECK(pn_restarts_check(&sup));
            pn_restarts_free(&sup);
        }
        fail_never();
        CHECK_INT(live_blocks(), 0);
    }
}

int
main(void)
{
    RUN(test_only_what_is_to_return_returns);
    RUN(test_backoff_doubles_and_is_short_again_after_calm);
    RUN(test_too_many_restarts_stop_all_in_reverse_order);
    RUN(test_one_for_all_stops_and_starts_in_order);
    RUN(test_rest_for_one_leaves_the_earlier_ones);
    RUN(test_earlier_end_widens_the_group);
    RUN(test_end_while_the_group_starts_begins_anew);
    RUN(test_those_of_one_rank_stop_at_once);
    RUN(test_stop_of_nothing_is_over_at_once);
    RUN(test_child_is_halted_and_started_again_by_order);
    RUN(test_late_news_are_ignored);
    RUN(test_years_of_rare_ends_never_escalate);
    RUN(test_hundred_thousand_children_restart_one_by_one);
    RUN(test_invariants_hold_in_random_schedules);
    RUN(test_without_memory_nothing_changes);
    return 0;
}
