/* The steps of a meeting, one by one; meeting_world_test.c has schedules. */
#include "check.h"

#include "base/status.h"
#include "mailbox/meeting.h"

#define SECOND INT64_C(1000000000)

/* --- the steps of one meeting --- */

static pn_meeting
met(uint64_t link)
{
    pn_meeting meeting = {0};
    CHECK_INT(pn_meeting_begin(&meeting, link), PN_OK);
    CHECK_INT(pn_meeting_greet(&meeting), PN_OK);
    pn_meeting_speak(&meeting);
    CHECK(pn_meeting_hear(&meeting, link));
    CHECK(pn_meeting_check(&meeting));
    return meeting;
}

static void
test_a_link_begins_once_and_has_a_number(void)
{
    pn_meeting meeting = {0};
    CHECK_INT(pn_meeting_begin(&meeting, 0), PN_EPROTO);
    CHECK_INT(pn_meeting_begin(&meeting, 5), PN_OK);
    CHECK_INT(pn_meeting_begin(&meeting, 6), PN_EPROTO);
    CHECK_INT(meeting.link, 5);
    CHECK(!meeting.speaks && !meeting.hears);
}

static void
test_the_second_hello_is_an_error(void)
{
    pn_meeting meeting = {0};
    CHECK_INT(pn_meeting_greet(&meeting), PN_EPROTO);
    CHECK_INT(pn_meeting_begin(&meeting, 5), PN_OK);
    CHECK_INT(pn_meeting_greet(&meeting), PN_OK);
    CHECK(!meeting.speaks); /* before its SWITCH was said */
    CHECK_INT(pn_meeting_greet(&meeting), PN_EPROTO);
}

static void
test_a_switch_to_another_link_opens_nothing(void)
{
    pn_meeting meeting = {0};
    CHECK(!pn_meeting_hear(&meeting, 0));
    CHECK(!pn_meeting_hear(&meeting, 4));
    CHECK_INT(pn_meeting_begin(&meeting, 5), PN_OK);
    CHECK(!pn_meeting_hear(&meeting, 4));
    CHECK(pn_meeting_hear(&meeting, 5));
    CHECK(!pn_meeting_hear(&meeting, 5));
}

static void
test_a_switch_over_the_link_comes_once_and_behind_the_hello(void)
{
    pn_meeting meeting = {0};
    CHECK_INT(pn_meeting_hear_end(&meeting), PN_EPROTO);
    CHECK_INT(pn_meeting_begin(&meeting, 5), PN_OK);
    CHECK(pn_meeting_hear(&meeting, 5));
    CHECK_INT(pn_meeting_hear_end(&meeting), PN_EPROTO);
    CHECK_INT(pn_meeting_greet(&meeting), PN_OK);
    CHECK_INT(pn_meeting_hear_end(&meeting), PN_OK);
    CHECK_INT(pn_meeting_hear_end(&meeting), PN_EPROTO);
}

static void
test_who_is_left_leaves_too_and_nothing_was_lost(void)
{
    pn_meeting a = met(5), b = met(5);
    pn_meeting_leave(&a);
    CHECK(!pn_meeting_is_over(&a));
    CHECK_INT(pn_meeting_hear_end(&b), PN_OK);
    CHECK(pn_meeting_must_leave(&b));
    pn_meeting_leave(&b);
    CHECK(pn_meeting_is_over(&b));
    CHECK_INT(pn_meeting_hear_end(&a), PN_OK);
    CHECK(!pn_meeting_must_leave(&a));
    CHECK(pn_meeting_is_over(&a));
    pn_farewell of_a = pn_meeting_end(&a), of_b = pn_meeting_end(&b);
    CHECK(!pn_meeting_farewell(&a, &of_b));
    CHECK(!pn_meeting_farewell(&b, &of_a));
    CHECK_INT(pn_meeting_begin(&a, 6), PN_OK);
}

static void
test_a_link_that_was_never_spoken_over_loses_nothing(void)
{
    pn_meeting a = {0}, b = {0};
    CHECK_INT(pn_meeting_begin(&a, 5), PN_OK);
    pn_farewell of_a = pn_meeting_end(&a);
    CHECK_INT(pn_meeting_begin(&b, 5), PN_OK);
    pn_farewell of_b = pn_meeting_end(&b);
    CHECK(!pn_meeting_farewell(&a, &of_b));
    CHECK(!pn_meeting_farewell(&b, &of_a));
}

static void
test_what_was_said_and_not_heard_is_lost_at_both_ends_once(void)
{
    pn_meeting a = met(5), b = {0};
    pn_farewell of_a = pn_meeting_end(&a), of_b = {.link = 5},
                old = {.link = 4};
    CHECK(!pn_meeting_farewell(&a, &old));
    CHECK(pn_meeting_farewell(&a, &of_b));
    CHECK(!pn_meeting_farewell(&a, &of_b));
    CHECK_INT(pn_meeting_begin(&b, 5), PN_OK);
    (void)pn_meeting_end(&b);
    CHECK(pn_meeting_farewell(&b, &of_a)); /* an answer may have been */
}

static void
test_farewells_survive_the_wire_and_others_are_refused(void)
{
    uint8_t bytes[PN_FAREWELL_SIZE];
    pn_farewell out;
    for (int i = 0; i < 4; i++) {
        pn_farewell in = {9, (i & 1) != 0, (i & 2) != 0};
        pn_farewell_encode(&in, bytes);
        CHECK_INT(pn_farewell_decode(&out, 9, bytes, sizeof bytes), PN_OK);
        CHECK_INT(out.link, 9);
        CHECK_INT(out.spoken, in.spoken);
        CHECK_INT(out.heard_all, in.heard_all);
    }
    CHECK_INT(pn_farewell_decode(&out, 9, bytes, 0), PN_EPROTO);
    bytes[0] = 4;
    CHECK_INT(pn_farewell_decode(&out, 9, bytes, 1), PN_EPROTO);
}

/* --- the arbiter's pairs --- */

static void
test_a_pair_has_one_link_until_both_ends_are_closed(void)
{
    pn_pair pair = {0};
    pn_farewell well = {5, true, true}, other = {4, true, true};
    CHECK(pn_pair_may_meet(&pair, 1));
    pn_pair_met(&pair, 5, 1);
    CHECK(!pn_pair_may_meet(&pair, SECOND));
    CHECK(!pn_pair_closed(&pair, 0, &other, SECOND));
    CHECK(pn_pair_closed(&pair, 0, &well, SECOND));
    CHECK(!pn_pair_closed(&pair, 0, &well, SECOND));
    CHECK(!pn_pair_may_meet(&pair, SECOND));
    CHECK(pn_pair_closed(&pair, 1, &well, SECOND));
    CHECK(pn_pair_may_meet(&pair, SECOND));
}

static void
test_what_fails_is_tried_again_ever_later(void)
{
    pn_pair pair = {0};
    int64_t now = 0, wait = PN_PAIR_WAIT;
    for (int i = 0; i < 20; i++) {
        pn_pair_failed(&pair, now);
        CHECK(!pn_pair_may_meet(&pair, now + wait - 1));
        CHECK(pn_pair_may_meet(&pair, now + wait));
        now += wait;
        wait = wait * 2 > PN_PAIR_WAIT_MAX ? PN_PAIR_WAIT_MAX : wait * 2;
    }
    pn_farewell lost = {7, true, false}, well = {7, true, true};
    pn_pair_met(&pair, 7, now);
    CHECK(pn_pair_closed(&pair, 0, &lost, now));
    CHECK(pn_pair_closed(&pair, 1, &well, now));
    CHECK(!pn_pair_may_meet(&pair, now + PN_PAIR_WAIT_MAX - 1));
    now += PN_PAIR_WAIT_MAX;
    pn_pair_met(&pair, 7, now);
    now += PN_PAIR_WAIT_MAX + 1; /* lived long: the first wait again */
    CHECK(pn_pair_closed(&pair, 1, &lost, now));
    CHECK(pn_pair_closed(&pair, 0, &lost, now));
    CHECK(!pn_pair_may_meet(&pair, now));
    now += PN_PAIR_WAIT;
    CHECK(pn_pair_may_meet(&pair, now));
    pn_pair_met(&pair, 7, now);
    CHECK(pn_pair_closed(&pair, 1, &well, now));
    CHECK(pn_pair_closed(&pair, 0, &well, now));
    CHECK(pn_pair_may_meet(&pair, now));
}

int
main(void)
{
    RUN(test_a_link_begins_once_and_has_a_number);
    RUN(test_the_second_hello_is_an_error);
    RUN(test_a_switch_to_another_link_opens_nothing);
    RUN(test_a_switch_over_the_link_comes_once_and_behind_the_hello);
    RUN(test_who_is_left_leaves_too_and_nothing_was_lost);
    RUN(test_a_link_that_was_never_spoken_over_loses_nothing);
    RUN(test_what_was_said_and_not_heard_is_lost_at_both_ends_once);
    RUN(test_farewells_survive_the_wire_and_others_are_refused);
    RUN(test_a_pair_has_one_link_until_both_ends_are_closed);
    RUN(test_what_fails_is_tried_again_ever_later);
    return 0;
}
