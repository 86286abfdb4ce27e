/* The sender's segments: taken, lent, given back, bounded; and whatever
 * cannot be had means "in band". */
#include "check.h"

#include "base/status.h"
#include "sys/segpool.h"

#include <sys/resource.h>
#include <unistd.h>

#define SECOND ((int64_t)1000000000)
#define SIZE ((size_t)PN_SEGMENT_THRESHOLD)

static pn_segment_budget
budget_of(size_t bytes, size_t count)
{
    return (pn_segment_budget){.byte_limit = bytes, .count_limit = count};
}

/* Miss until a segment is to be offered; its descriptor is closed. */
static uint64_t
offered(pn_segpool *pool, size_t size, int64_t now)
{
    pn_segment_offer offer;
    for (int i = 0; i < 10; i++) {
        int err = pn_segpool_miss(pool, size, now, &offer);
        CHECK(pn_segpool_check(pool));
        if (err == PN_OK) {
            CHECK(offer.size >= size);
            CHECK_INT(close(offer.fd), 0);
            return offer.id;
        }
        CHECK_INT(err, PN_MORE);
    }
    return 0;
}

/* A segment that the far end has mapped. */
static uint64_t
added(pn_segpool *pool, size_t size, int64_t now)
{
    uint64_t id = offered(pool, size, now);
    CHECK(id != 0);
    CHECK_INT(pn_segpool_ready(pool, id, now), PN_OK);
    return id;
}

static void
test_first_messages_go_in_band(void)
{
    pn_segment_budget budget = budget_of(1 << 24, 8);
    pn_segpool pool;
    pn_segment_offer offer;
    pn_segpool_init(&pool, &budget);
    CHECK(pn_segpool_take(&pool, SIZE, 0) == NULL);
    CHECK_INT(pn_segpool_miss(&pool, SIZE, 0, &offer), PN_MORE);
    CHECK_INT(pn_segpool_miss(&pool, SIZE, 0, &offer), PN_MORE);
    CHECK_INT(pn_segpool_miss(&pool, SIZE, 0, &offer), PN_OK);
    CHECK(pn_segpool_take(&pool, SIZE, 0) == NULL); /* not mapped yet */
    CHECK_INT(close(offer.fd), 0);
    CHECK_INT(budget.count, 1);
    pn_segpool_free(&pool);
    CHECK_INT(budget.count, 0);
    CHECK_INT(budget.bytes, 0);
}

static void
test_segment_is_lent_once_and_comes_back(void)
{
    pn_segment_budget budget = budget_of(1 << 24, 8);
    pn_segpool pool;
    pn_segpool_init(&pool, &budget);
    uint64_t id = added(&pool, SIZE, 0);
    CHECK_INT(pn_segpool_ready(&pool, id, 0), PN_EPROTO);
    for (int i = 0; i < 100; i++) {
        pn_pooled *pooled = pn_segpool_take(&pool, SIZE - (size_t)i, i);
        CHECK(pooled != NULL);
        CHECK_INT(pooled->id, id);
        memset(pooled->data, i, SIZE);
        CHECK(pn_segpool_take(&pool, SIZE, i) == NULL);
        CHECK(pn_segpool_check(&pool));
        CHECK_INT(pn_segpool_ready(&pool, id, i), PN_OK);
        CHECK_INT(pn_segpool_ready(&pool, id, i), PN_EPROTO);
        CHECK(pn_segpool_check(&pool));
    }
    pn_segpool_free(&pool);
}

static void
test_segment_fits_what_it_carries(void)
{
    pn_segment_budget budget = budget_of(1 << 28, 8);
    pn_segpool pool;
    pn_segpool_init(&pool, &budget);
    (void)added(&pool, 16 * SIZE, 0);
    CHECK(pn_segpool_take(&pool, SIZE, 0) == NULL); /* it would be wasted */
    CHECK(pn_segpool_take(&pool, 32 * SIZE, 0) == NULL);
    pn_pooled *pooled = pn_segpool_take(&pool, 8 * SIZE, 0);
    CHECK(pooled != NULL);
    CHECK_INT(pn_segpool_ready(&pool, pooled->id, 0), PN_OK);
    pn_segpool_free(&pool);
}

static void
test_sizes_waste_little(void)
{
    for (size_t size = SIZE; size < 64 * SIZE; size += SIZE / 3 + 1) {
        pn_segment_budget budget = budget_of(1 << 28, 8);
        pn_segpool pool;
        pn_segpool_init(&pool, &budget);
        (void)offered(&pool, size, 0);
        CHECK(budget.bytes >= size);
        CHECK(budget.bytes <= size + size / 4);
        pn_segpool_free(&pool);
    }
}

static void
test_one_offer_at_a_time(void)
{
    pn_segment_budget budget = budget_of(1 << 24, 8);
    pn_segpool pool;
    pn_segpool_init(&pool, &budget);
    uint64_t id = offered(&pool, SIZE, 0);
    CHECK_INT(offered(&pool, SIZE, 0), 0);
    CHECK_INT(pn_segpool_ready(&pool, id + 1, 0), PN_EPROTO);
    CHECK_INT(pn_segpool_refused(&pool, id + 1, 0), PN_EPROTO);
    CHECK_INT(pn_segpool_ready(&pool, id, 0), PN_OK);
    CHECK(offered(&pool, SIZE, 0) != 0);
    pn_segpool_free(&pool);
}

static void
test_refused_offer_pauses(void)
{
    pn_segment_budget budget = budget_of(1 << 24, 8);
    pn_segpool pool;
    pn_segpool_init(&pool, &budget);
    uint64_t id = offered(&pool, SIZE, 0);
    CHECK_INT(pn_segpool_refused(&pool, id, SECOND), PN_OK);
    CHECK_INT(pn_segpool_refused(&pool, id, SECOND), PN_EPROTO);
    CHECK_INT(pn_segpool_ready(&pool, id, SECOND), PN_EPROTO);
    CHECK_INT(budget.count, 0);
    CHECK_INT(offered(&pool, SIZE, SECOND + 1), 0);
    CHECK(offered(&pool, SIZE, 2 * SECOND) > id);
    pn_segpool_free(&pool);
}

static void
test_budget_is_kept_over_pools(void)
{
    pn_segment_budget budget = budget_of(5 * SIZE, 3);
    pn_segpool one, other;
    pn_segpool_init(&one, &budget);
    pn_segpool_init(&other, &budget);
    (void)added(&one, 2 * SIZE, 0);
    (void)added(&other, 2 * SIZE, 0);
    CHECK_INT(offered(&one, 2 * SIZE, 0), 0); /* too many bytes */
    (void)added(&one, SIZE, 0);
    CHECK_INT(budget.bytes, 5 * SIZE);
    budget.byte_limit *= 2;
    CHECK_INT(offered(&one, SIZE, 0), 0); /* too many segments */
    pn_segpool_free(&other);
    CHECK(offered(&one, SIZE, 0) != 0);
    CHECK_INT(offered(&one, 100 * SIZE, 0), 0);
    pn_segpool_free(&one);
    CHECK_INT(budget.bytes, 0);
    CHECK_INT(budget.count, 0);
}

static void
test_unused_segments_expire(void)
{
    pn_segment_budget budget = budget_of(1 << 24, 8);
    pn_segpool pool;
    uint64_t id = 0;
    pn_segpool_init(&pool, &budget);
    uint64_t first = added(&pool, SIZE, 0);
    uint64_t second = added(&pool, 2 * SIZE, SECOND);
    uint64_t third = added(&pool, 4 * SIZE, 2 * SECOND);
    pn_pooled *lent = pn_segpool_take(&pool, 2 * SIZE, 2 * SECOND);
    CHECK(lent != NULL && lent->id == third);
    CHECK(!pn_segpool_expire(&pool, 0, &id));
    CHECK(pn_segpool_expire(&pool, 5 * SECOND, &id));
    CHECK_INT(id, second);
    CHECK(pn_segpool_expire(&pool, 5 * SECOND, &id));
    CHECK_INT(id, first);
    CHECK(!pn_segpool_expire(&pool, 5 * SECOND, &id)); /* the rest is lent */
    CHECK_INT(budget.count, 1);
    CHECK_INT(pn_segpool_ready(&pool, first, 0), PN_EPROTO);
    pn_segpool_free(&pool);
}

static void
test_without_descriptors_all_goes_in_band(void)
{
    struct rlimit old, none;
    pn_segment_budget budget = budget_of(1 << 24, 8);
    pn_segpool pool;
    pn_segpool_init(&pool, &budget);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_INT(offered(&pool, SIZE, 0), 0);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &old), 0);
    CHECK_INT(budget.count, 0);
    CHECK_INT(offered(&pool, SIZE, 1), 0);
    CHECK(offered(&pool, SIZE, 2 * SECOND) != 0);
    pn_segpool_free(&pool);
}

static void
test_failing_allocations_mean_in_band(void)
{
    for (long n = 0; n < 8; n++) {
        pn_segment_budget budget = budget_of(1 << 24, 8);
        pn_segpool pool;
        pn_segpool_init(&pool, &budget);
        fail_after(n);
        for (int64_t now = 0; now < 8; now++) {
            uint64_t id = offered(&pool, SIZE, now * 2 * SECOND);
            if (id != 0)
                CHECK_INT(pn_segpool_ready(&pool, id, now), PN_OK);
            pn_pooled *pooled = pn_segpool_take(&pool, SIZE, now);
            CHECK(pooled == NULL || pooled->size >= SIZE);
            CHECK(pn_segpool_check(&pool));
        }
        fail_never();
        pn_segpool_free(&pool);
        CHECK_INT(budget.count, 0);
        CHECK_INT(live_blocks(), 0);
    }
}

int
main(void)
{
    RUN(test_first_messages_go_in_band);
    RUN(test_segment_is_lent_once_and_comes_back);
    RUN(test_segment_fits_what_it_carries);
    RUN(test_sizes_waste_little);
    RUN(test_one_offer_at_a_time);
    RUN(test_refused_offer_pauses);
    RUN(test_budget_is_kept_over_pools);
    RUN(test_unused_segments_expire);
    RUN(test_without_descriptors_all_goes_in_band);
    RUN(test_failing_allocations_mean_in_band);
    CHECK_INT(live_blocks(), 0);
    return 0;
}
