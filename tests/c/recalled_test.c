/* Keys of asks that were cancelled before they came. */
#include "check.h"

#include "base/status.h"
#include "mailbox/recalled.h"

#define SECOND ((int64_t)1000000000)

static void
test_a_key_is_remembered_until_it_is_taken(void)
{
    pn_recalled recalled = {0};
    CHECK(!pn_recalled_take(&recalled, 7));
    CHECK_INT(pn_recalled_add(&recalled, 7, 1), PN_OK);
    CHECK_INT(pn_recalled_add(&recalled, 7, 2), PN_OK);
    CHECK(pn_recalled_take(&recalled, 7));
    CHECK(!pn_recalled_take(&recalled, 7));
    CHECK(pn_recalled_check(&recalled));
    pn_recalled_free(&recalled);
    CHECK_INT(live_blocks(), 0);
}

static void
test_as_many_as_an_outbox_holds_are_remembered(void)
{
    pn_recalled recalled = {0};
    for (uint64_t key = 1; key <= PN_RECALLED_LIMIT + 10; key++)
        CHECK_INT(pn_recalled_add(&recalled, key, 1), PN_OK);
    CHECK_INT(recalled.count, PN_RECALLED_LIMIT);
    CHECK(!pn_recalled_take(&recalled, 10)); /* the first ones are gone */
    for (uint64_t key = 11; key <= PN_RECALLED_LIMIT + 10; key++)
        CHECK(pn_recalled_take(&recalled, key));
    pn_recalled_free(&recalled);
    CHECK_INT(live_blocks(), 0);
}

static void
test_old_keys_make_room_for_new_ones(void)
{
    pn_recalled recalled = {0};
    for (uint64_t key = 1; key <= 1000; key++)
        CHECK_INT(pn_recalled_add(&recalled, key, (int64_t)key), PN_OK);
    size_t capacity = recalled.capacity;
    CHECK_INT(pn_recalled_add(&recalled, 1001, 100 * SECOND), PN_OK);
    CHECK_INT(recalled.count, 1);
    CHECK_INT(recalled.capacity, capacity);
    CHECK(!pn_recalled_take(&recalled, 1000));
    CHECK(pn_recalled_take(&recalled, 1001));
    pn_recalled_free(&recalled);
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_nothing_changes(void)
{
    for (long allowed = 0; allowed < 6; allowed++) {
        pn_recalled recalled = {0};
        fail_after(allowed);
        uint64_t key = 1;
        while (key < 100 && pn_recalled_add(&recalled, key, 1) == PN_OK)
            key++;
        fail_never();
        CHECK(pn_recalled_check(&recalled));
        for (uint64_t known = 1; known < key; known++)
            CHECK(pn_recalled_take(&recalled, known));
        CHECK(!pn_recalled_take(&recalled, key));
        pn_recalled_free(&recalled);
        CHECK_INT(live_blocks(), 0);
    }
}

int
main(void)
{
    RUN(test_a_key_is_remembered_until_it_is_taken);
    RUN(test_as_many_as_an_outbox_holds_are_remembered);
    RUN(test_old_keys_make_room_for_new_ones);
    RUN(test_without_memory_nothing_changes);
    return 0;
}
