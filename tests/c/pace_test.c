#include "loop/pace.h"

#include "check.h"

static void
test_first_turn_looks(void)
{
    pn_pace pace = {0};
    CHECK(pn_pace_is_due(&pace, 1));
}

static void
test_quick_turns_go_by_until_there_were_many(void)
{
    pn_pace pace = {0};
    pn_pace_looked(&pace, 1000);
    for (int i = 1; i < PN_PACE_TURNS; i++)
        CHECK(!pn_pace_is_due(&pace, 1000 + i));
    CHECK(pn_pace_is_due(&pace, 2000));
}

static void
test_slow_turns_look_when_the_time_is_up(void)
{
    pn_pace pace = {0};
    pn_pace_looked(&pace, 1000);
    CHECK(!pn_pace_is_due(&pace, 1000 + PN_PACE_NS - 1));
    CHECK(pn_pace_is_due(&pace, 1000 + PN_PACE_NS));
}

static void
test_look_begins_the_count_again(void)
{
    pn_pace pace = {0};
    pn_pace_looked(&pace, 1000);
    for (int i = 1; i < PN_PACE_TURNS; i++)
        (void)pn_pace_is_due(&pace, 1000);
    pn_pace_looked(&pace, 1000);
    CHECK(!pn_pace_is_due(&pace, 1000));
}

static void
test_hurry_makes_the_next_turn_look(void)
{
    pn_pace pace = {0};
    pn_pace_looked(&pace, 1000);
    pn_pace_hurry(&pace);
    CHECK(pn_pace_is_due(&pace, 1000));
}

int
main(void)
{
    RUN(test_first_turn_looks);
    RUN(test_quick_turns_go_by_until_there_were_many);
    RUN(test_slow_turns_look_when_the_time_is_up);
    RUN(test_look_begins_the_count_again);
    RUN(test_hurry_makes_the_next_turn_look);
    return 0;
}
