/* The histogram: each duration in the bucket whose bounds hold it. */
#include "check.h"

#include "mailbox/histogram.h"

static void
test_first_bucket_is_one_microsecond(void)
{
    CHECK_INT(pn_histogram_bucket(INT64_MIN), 0);
    CHECK_INT(pn_histogram_bucket(-1), 0);
    CHECK_INT(pn_histogram_bucket(0), 0);
    CHECK_INT(pn_histogram_bucket(1000), 0);
    CHECK_INT(pn_histogram_bucket(1001), 1);
}

static void
test_bounds_belong_to_their_buckets(void)
{
    for (size_t i = 0; i + 1 < PN_HISTOGRAM_BUCKETS; i++) {
        int64_t bound = (int64_t)pn_histogram_bound(i);
        CHECK_INT(bound, (long long)1000 << i);
        CHECK_INT(pn_histogram_bucket(bound), i);
        CHECK_INT(pn_histogram_bucket(bound + 1), i + 1);
    }
}

static void
test_last_bucket_has_no_end(void)
{
    CHECK_INT(pn_histogram_bound(PN_HISTOGRAM_BUCKETS - 1), 0);
    CHECK_INT(pn_histogram_bucket(INT64_MAX), PN_HISTOGRAM_BUCKETS - 1);
}

static void
test_random_durations_lie_between_the_bounds(void)
{
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 100000; i++) {
        uint64_t shift = test_random_next(&random) % 63;
        int64_t ns = (int64_t)(test_random_next(&random) >> (shift + 1));
        size_t bucket = pn_histogram_bucket(ns);
        if (bucket > 0)
            CHECK((uint64_t)ns > pn_histogram_bound(bucket - 1));
        if (bucket + 1 < PN_HISTOGRAM_BUCKETS)
            CHECK((uint64_t)ns <= pn_histogram_bound(bucket));
    }
}

static void
test_noting_counts_and_sums(void)
{
    pn_histogram histogram = {0};
    CHECK_INT(pn_histogram_count(&histogram), 0);
    pn_histogram_note(&histogram, 500);
    pn_histogram_note(&histogram, 1500);
    pn_histogram_note(&histogram, 1600);
    pn_histogram_note(&histogram, -7);
    CHECK_INT(histogram.counts[0], 2);
    CHECK_INT(histogram.counts[1], 2);
    CHECK_INT(histogram.nanoseconds, 3600);
    CHECK_INT(pn_histogram_count(&histogram), 4);
}

int
main(void)
{
    RUN(test_first_bucket_is_one_microsecond);
    RUN(test_bounds_belong_to_their_buckets);
    RUN(test_last_bucket_has_no_end);
    RUN(test_random_durations_lie_between_the_bounds);
    RUN(test_noting_counts_and_sums);
    return 0;
}
