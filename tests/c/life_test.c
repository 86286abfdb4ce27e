/* One actor's life, driven by a clock that is a number. */
#include "check.h"

#include "actor/life.h"

#define SECOND 1000000000LL
#define YEAR (365 * 86400 * SECOND)

static const pn_life_limits limits = {.spawn = 30 * SECOND,
                                      .silence = 32 * SECOND,
                                      .exit = 4 * SECOND,
                                      .terminate = 2 * SECOND,
                                      .kill = SECOND,
                                      .link = SECOND / 10};

/* Letters of what is asked for, in the order of pn_life_do. */
static void
expect(const pn_life *life, const pn_life_actions *actions, const char *wanted)
{
    char got[4] = {0};
    for (size_t i = 0; i < actions->count; i++)
        got[i] = "lcsdhtkfogE"[actions->what[i]];
    if (strcmp(got, wanted) != 0) {
        fprintf(stderr, "actions %s, wanted %s\n", got, wanted);
        exit(1);
    }
    CHECK(pn_life_check(life));
}

static void
expect_at_due(pn_life *life, const char *wanted, pn_life_state state)
{
    pn_life_actions out;
    int64_t due = pn_life_due(life);
    pn_life_tick(life, due - 1, &out);
    expect(life, &out, "");
    pn_life_tick(life, due, &out);
    expect(life, &out, wanted);
    CHECK_INT(life->state, state);
}

static pn_life
running(int64_t now)
{
    pn_life life;
    pn_life_init(&life, &limits, now);
    pn_life_heard(&life, now);
    CHECK_INT(life.state, PN_LIFE_RUNNING);
    return life;
}

static void
test_start_that_takes_too_long_is_killed(void)
{
    pn_life life;
    pn_life_init(&life, &limits, 0);
    CHECK_INT(pn_life_due(&life), 30 * SECOND);
    expect_at_due(&life, "fk", PN_LIFE_KILLING);
    expect_at_due(&life, "g", PN_LIFE_GONE);
    CHECK_INT(pn_life_due(&life), INT64_MAX);
}

static void
test_heartbeats_keep_it_running_for_years(void)
{
    pn_life life = running(0);
    pn_life_actions out;
    for (int64_t now = 0; now < 10 * YEAR; now += 9 * SECOND) {
        pn_life_heard(&life, now);
        if (pn_life_due(&life) <= now) {
            pn_life_tick(&life, now, &out);
            CHECK_INT(out.count, 0);
            CHECK(pn_life_due(&life) > now);
        }
    }
    CHECK_INT(life.state, PN_LIFE_RUNNING);
}

static void
test_silent_one_is_captured_then_stopped_by_force(void)
{
    pn_life life = running(0);
    pn_life_actions out;
    CHECK(pn_life_due(&life) >= 32 * SECOND);
    CHECK(pn_life_due(&life) <= 34 * SECOND);
    int64_t now = pn_life_due(&life);
    expect_at_due(&life, "l", PN_LIFE_RUNNING);
    pn_life_look(&life, false, now, &out);
    expect(&life, &out, "c");
    CHECK_INT(life.state, PN_LIFE_SILENT);
    now = pn_life_due(&life);
    expect_at_due(&life, "l", PN_LIFE_SILENT);
    pn_life_look(&life, false, now, &out);
    expect(&life, &out, "hs");
    expect_at_due(&life, "t", PN_LIFE_TERMINATING);
    expect_at_due(&life, "k", PN_LIFE_KILLING);
    expect_at_due(&life, "g", PN_LIFE_GONE);
    CHECK_INT(pn_life_due(&life), INT64_MAX);
}

static void
test_busy_one_is_never_silent(void)
{
    pn_life life = running(0);
    pn_life_actions out;
    for (int i = 0; i < 1000; i++) {
        int64_t now = pn_life_due(&life);
        expect_at_due(&life, "l", PN_LIFE_RUNNING);
        pn_life_look(&life, true, now, &out);
        expect(&life, &out, "");
        CHECK(pn_life_due(&life) > now + 30 * SECOND);
    }
}

static void
test_sign_of_life_between_the_looks_saves_it(void)
{
    for (int how = 0; how < 3; how++) {
        pn_life life = running(0);
        pn_life_actions out;
        int64_t now = pn_life_due(&life);
        pn_life_tick(&life, now, &out);
        if (how == 0)
            pn_life_heard(&life, now); /* read before the look */
        pn_life_look(&life, false, now, &out);
        expect(&life, &out, how == 0 ? "" : "c");
        if (how == 1)
            pn_life_heard(&life, now + 1);
        else if (how == 2)
            pn_life_look(&life, true, now + SECOND, &out);
        CHECK_INT(life.state, PN_LIFE_RUNNING);
        CHECK(pn_life_due(&life) > now + 30 * SECOND);
    }
}

static void
test_late_look_excuses(void)
{
    pn_life life = running(0);
    pn_life_actions out;
    int64_t late = pn_life_due(&life) + 17 * SECOND;
    pn_life_tick(&life, late, &out);
    expect(&life, &out, "");
    CHECK(pn_life_due(&life) > late + 30 * SECOND);
}

static void
test_zero_is_any_silence(void)
{
    pn_life_limits patient = limits;
    pn_life life;
    patient.silence = 0;
    pn_life_init(&life, &patient, 0);
    pn_life_heard(&life, 0);
    CHECK_INT(pn_life_due(&life), INT64_MAX);
    CHECK(pn_life_check(&life));
}

static void
test_drain_then_stop_then_force(void)
{
    pn_life life = running(0);
    pn_life_actions out;
    pn_life_stop(&life, 25 * SECOND, 0, &out);
    expect(&life, &out, "d");
    pn_life_stop(&life, 25 * SECOND, SECOND, &out);
    expect(&life, &out, "");
    CHECK_INT(pn_life_due(&life), 25 * SECOND);
    expect_at_due(&life, "s", PN_LIFE_STOPPING);
    pn_life_stop(&life, 0, 26 * SECOND, &out);
    expect(&life, &out, "");
    expect_at_due(&life, "t", PN_LIFE_TERMINATING);
}

static void
test_second_request_ends_the_drain(void)
{
    pn_life life = running(0);
    pn_life_actions out;
    pn_life_stop(&life, 25 * SECOND, 0, &out);
    pn_life_stop(&life, 0, SECOND, &out);
    expect(&life, &out, "s");
    CHECK_INT(pn_life_due(&life), 5 * SECOND);
}

static void
test_last_words_give_time_to_exit(void)
{
    pn_life life = running(0);
    pn_life_leaves(&life, SECOND);
    CHECK_INT(life.state, PN_LIFE_STOPPING);
    pn_life_heard(&life, SECOND);
    CHECK_INT(life.state, PN_LIFE_STOPPING);
    pn_life_unlinked(&life, SECOND);
    expect_at_due(&life, "o", PN_LIFE_STOPPING);
    CHECK_INT(pn_life_due(&life), 5 * SECOND);
    expect_at_due(&life, "t", PN_LIFE_TERMINATING);
}

static void
test_without_its_link_it_is_terminated(void)
{
    pn_life life = running(0);
    pn_life_unlinked(&life, SECOND);
    CHECK_INT(pn_life_due(&life), SECOND + SECOND / 10);
    expect_at_due(&life, "ot", PN_LIFE_TERMINATING);
    expect_at_due(&life, "k", PN_LIFE_KILLING);
}

/* Whose first request to stop is SIGTERM has as long as after any. */
static void
test_orphan_has_time_to_exit(void)
{
    pn_life life = running(0);
    pn_life_unlinked(&life, 0);
    expect_at_due(&life, "ot", PN_LIFE_TERMINATING);
    CHECK_INT(pn_life_due(&life), SECOND / 10 + limits.exit);
}

static void
test_graces_are_not_stacked(void)
{
    for (int orphan = 0; orphan < 2; orphan++) {
        pn_life life = running(0);
        pn_life_actions out;
        pn_life_stop(&life, 0, 0, &out);
        if (orphan == 1) {
            pn_life_unlinked(&life, SECOND);
            expect_at_due(&life, "ot", PN_LIFE_TERMINATING);
        } else {
            expect_at_due(&life, "t", PN_LIFE_TERMINATING);
        }
        CHECK(pn_life_due(&life) <= limits.exit + limits.terminate);
        expect_at_due(&life, "k", PN_LIFE_KILLING);
    }
}

static void
test_who_stops_may_wait_for_others(void)
{
    pn_life life = running(0);
    pn_life_actions out;
    pn_life_waits(&life, 60 * SECOND); /* it does not stop */
    CHECK(pn_life_due(&life) < 60 * SECOND);
    pn_life_stop(&life, 0, 0, &out);
    pn_life_waits(&life, SECOND);
    CHECK_INT(pn_life_due(&life), limits.exit);
    pn_life_waits(&life, 10 * SECOND);
    CHECK_INT(pn_life_due(&life), 10 * SECOND);
    expect_at_due(&life, "t", PN_LIFE_TERMINATING);
    pn_life_waits(&life, 60 * SECOND);
    expect_at_due(&life, "k", PN_LIFE_KILLING);
}

static void
test_link_ends_but_once(void)
{
    pn_life life = running(0);
    pn_life_unlinked(&life, SECOND);
    pn_life_unlinked(&life, SECOND + SECOND / 20);
    expect_at_due(&life, "ot", PN_LIFE_TERMINATING);
    pn_life_unlinked(&life, 2 * SECOND);
    expect_at_due(&life, "k", PN_LIFE_KILLING);
}

static void
test_times_may_lie_far_from_0(void)
{
    const int64_t far = 4000000000 * SECOND;
    const pn_life_limits longest = {far, far, far, far, far, far};
    pn_life_actions out;
    for (int64_t now = -far; now <= far && now >= -far; now += far) {
        pn_life life;
        pn_life_init(&life, &longest, now);
        CHECK(pn_life_due(&life) > now);
        pn_life_heard(&life, now);
        CHECK(pn_life_due(&life) > now);
        pn_life_tick(&life, far, &out);
        pn_life_unlinked(&life, now);
        pn_life_tick(&life, far, &out);
        CHECK(pn_life_check(&life));
    }
}

static void
test_exit_ends_every_state(void)
{
    for (int state = PN_LIFE_STARTING; state < PN_LIFE_GONE; state++) {
        pn_life life = running(0);
        pn_life_actions out;
        life.state = (pn_life_state)state;
        pn_life_exited(&life, SECOND);
        pn_life_exited(&life, 2 * SECOND);
        pn_life_unlinked(&life, SECOND);
        expect_at_due(&life, "E", PN_LIFE_GONE);
        CHECK_INT(pn_life_due(&life), INT64_MAX);
        pn_life_kill(&life, 0, &out);
        expect(&life, &out, "");
        pn_life_stop(&life, 0, 0, &out);
        expect(&life, &out, "");
    }
}

/* Whatever comes, a request to stop ends in a bounded time. */
static void
test_random_events_keep_the_invariants(void)
{
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 20000; i++) {
        pn_life_actions out;
        pn_life life;
        int64_t now = 0;
        pn_life_init(&life, &limits, 0);
        for (int step = 0; step < 30; step++) {
            now += (int64_t)(test_random_next(&random) % (20 * SECOND));
            switch (test_random_next(&random) % 13) {
            case 0:
                pn_life_stop(&life, 10 * SECOND, now, &out);
                break;
            case 1:
                pn_life_unlinked(&life, now);
                break;
            case 2:
                pn_life_leaves(&life, now);
                break;
            case 3:
            case 4:
                pn_life_look(&life, step % 2 == 0, now, &out);
                break;
            case 12:
                pn_life_waits(&life, now + SECOND);
                break;
            case 5:
            case 6:
            case 7:
                pn_life_heard(&life, now);
                break;
            default:
                pn_life_tick(&life, now, &out);
                CHECK(out.count <= 3);
            }
            CHECK(pn_life_check(&life));
        }
        pn_life_stop(&life, 0, now, &out);
        int ticks = 0;
        for (; pn_life_due(&life) != INT64_MAX; ticks++)
            pn_life_tick(&life, pn_life_due(&life), &out);
        CHECK(life.state == PN_LIFE_GONE && ticks <= 6);
    }
}

int
main(void)
{
    RUN(test_start_that_takes_too_long_is_killed);
    RUN(test_heartbeats_keep_it_running_for_years);
    RUN(test_silent_one_is_captured_then_stopped_by_force);
    RUN(test_busy_one_is_never_silent);
    RUN(test_sign_of_life_between_the_looks_saves_it);
    RUN(test_late_look_excuses);
    RUN(test_zero_is_any_silence);
    RUN(test_drain_then_stop_then_force);
    RUN(test_second_request_ends_the_drain);
    RUN(test_last_words_give_time_to_exit);
    RUN(test_without_its_link_it_is_terminated);
    RUN(test_orphan_has_time_to_exit);
    RUN(test_graces_are_not_stacked);
    RUN(test_who_stops_may_wait_for_others);
    RUN(test_link_ends_but_once);
    RUN(test_times_may_lie_far_from_0);
    RUN(test_exit_ends_every_state);
    RUN(test_random_events_keep_the_invariants);
    return 0;
}
