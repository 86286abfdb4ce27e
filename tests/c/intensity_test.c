/* How often is too often, against a list of all times. */
#include "check.h"

#include "actor/intensity.h"
#include "base/status.h"

#define SECOND 1000000000LL

static void
test_more_than_so_many_in_the_time_are_too_many(void)
{
    pn_intensity intensity;
    CHECK_INT(pn_intensity_init(&intensity, 3, 10 * SECOND), PN_OK);
    for (int64_t i = 0; i < 3; i++)
        CHECK(pn_intensity_count(&intensity, i * SECOND));
    CHECK(!pn_intensity_count(&intensity, 3 * SECOND));
    CHECK(!pn_intensity_count(&intensity, 10 * SECOND - 1));
    CHECK(pn_intensity_count(&intensity, 10 * SECOND));
    CHECK(!pn_intensity_count(&intensity, 11 * SECOND - 1));
    CHECK(pn_intensity_count(&intensity, 11 * SECOND));
    pn_intensity_free(&intensity);
    CHECK_INT(live_blocks(), 0);
}

static void
test_none_is_too_many_where_none_may_be(void)
{
    pn_intensity intensity;
    CHECK_INT(pn_intensity_init(&intensity, 0, SECOND), PN_OK);
    CHECK(!pn_intensity_count(&intensity, 0));
    CHECK(!pn_intensity_count(&intensity, INT64_MAX));
    pn_intensity_free(&intensity);
}

/* The oracle: counted times of the last `within`, one by one. */
static void
test_random_times_agree_with_a_list(void)
{
    enum { TIMES = 3000, MAX = 7 };
    static int64_t counted[TIMES];
    pn_intensity intensity;
    test_random random;
    int64_t now = 0;
    size_t total = 0;
    test_random_init(&random);
    CHECK_INT(pn_intensity_init(&intensity, MAX, 100), PN_OK);
    for (int i = 0; i < TIMES; i++) {
        size_t recent = 0;
        now += (int64_t)(test_random_next(&random) % 30);
        for (size_t j = 0; j < total; j++)
            recent += now - counted[j] < 100;
        CHECK_INT(pn_intensity_count(&intensity, now), recent < MAX);
        if (recent < MAX)
            counted[total++] = now;
    }
    pn_intensity_free(&intensity);
}

static void
test_backoff_doubles_up_to_its_most(void)
{
    for (uint32_t attempts = 0; attempts < 10; attempts++) {
        int64_t nominal = SECOND << attempts;
        if (nominal > 30 * SECOND)
            nominal = 30 * SECOND;
        for (uint64_t bits = 0; bits < 100; bits++) {
            uint64_t random = bits * 0x9E3779B97F4A7C15u;
            int64_t delay =
                pn_backoff_delay(SECOND, 30 * SECOND, attempts, random);
            CHECK(delay >= nominal / 2 && delay <= nominal);
        }
    }
}

static void
test_backoff_of_extreme_numbers_does_not_overflow(void)
{
    CHECK_INT(pn_backoff_delay(0, 0, UINT32_MAX, UINT64_MAX), 0);
    CHECK_INT(pn_backoff_delay(0, SECOND, UINT32_MAX, UINT64_MAX), 0);
    int64_t delay = pn_backoff_delay(1, INT64_MAX, UINT32_MAX, UINT64_MAX);
    CHECK(delay >= INT64_MAX / 2);
    CHECK(pn_backoff_delay(INT64_MAX, INT64_MAX, 9, 0) == INT64_MAX / 2);
}

static void
test_without_memory_nothing_is_to_free(void)
{
    pn_intensity intensity;
    fail_after(0);
    CHECK_INT(pn_intensity_init(&intensity, 1, SECOND), PN_ENOMEM);
    fail_never();
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_more_than_so_many_in_the_time_are_too_many);
    RUN(test_none_is_too_many_where_none_may_be);
    RUN(test_random_times_agree_with_a_list);
    RUN(test_backoff_doubles_up_to_its_most);
    RUN(test_backoff_of_extreme_numbers_does_not_overflow);
    RUN(test_without_memory_nothing_is_to_free);
    return 0;
}
