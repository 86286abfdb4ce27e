/* The map against a linear array, and without memory. */
#include "check.h"

#include "base/map.h"
#include "base/status.h"

/* The model: at most MODEL_SIZE pairs in no order. */
#define MODEL_SIZE 200

typedef struct {
    uint64_t keys[MODEL_SIZE];
    void *values[MODEL_SIZE];
    size_t count;
} model;

static int things[1000]; /* what the values point to */

static size_t
model_find(const model *m, uint64_t key)
{
    size_t i = 0;
    while (i < m->count && m->keys[i] != key)
        i++;
    return i;
}

static void
model_put(model *m, uint64_t key, void *value)
{
    size_t i = model_find(m, key);
    if (i == m->count)
        m->count++;
    m->keys[i] = key;
    m->values[i] = value;
}

static void *
model_take(model *m, uint64_t key)
{
    size_t i = model_find(m, key);
    if (i == m->count)
        return NULL;
    void *value = m->values[i];
    m->count--;
    m->keys[i] = m->keys[m->count];
    m->values[i] = m->values[m->count];
    return value;
}

static void
check_same(const pn_map *map, const model *m)
{
    CHECK(pn_map_check(map));
    CHECK_INT(map->count, m->count);
    size_t cursor = 0, walked = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(map, &cursor)) != NULL) {
        size_t i = model_find(m, entry->key);
        CHECK(i < m->count && m->values[i] == entry->value);
        walked++;
    }
    CHECK_INT(walked, m->count);
    CHECK(pn_map_next(map, &cursor) == NULL);
}

/* Keys in narrow ranges collide, with each other and in their homes. */
static void
run_schedule(test_random *random, uint64_t spread, uint64_t stride)
{
    pn_map map = {0};
    model m = {.count = 0};
    for (int step = 0; step < 5000; step++) {
        uint64_t key = test_random_next(random) % spread * stride;
        void *value = &things[test_random_next(random) % 1000];
        bool growing = step / 500 % 2 == 0; /* or a phase of shrinking */
        if (test_random_next(random) % 4 < (growing ? 3 : 1)) {
            CHECK_INT(pn_map_put(&map, key, value), PN_OK);
            model_put(&m, key, value);
        } else {
            CHECK(pn_map_take(&map, key) == model_take(&m, key));
        }
        key = test_random_next(random) % spread * stride;
        size_t i = model_find(&m, key);
        CHECK(pn_map_get(&map, key) == (i < m.count ? m.values[i] : NULL));
        check_same(&map, &m);
    }
    pn_map_free(&map);
    CHECK_INT(live_blocks(), 0);
}

static void
test_random_schedule_agrees_with_an_array(void)
{
    test_random random;
    test_random_init(&random);
    run_schedule(&random, 8, 1);
    run_schedule(&random, MODEL_SIZE, 1);
    run_schedule(&random, MODEL_SIZE, 1u << 20);
    run_schedule(&random, MODEL_SIZE, (uint64_t)1 << 56);
    run_schedule(&random, 40, UINT64_MAX / 40);
}

static void
test_zeroed_map_is_empty(void)
{
    pn_map map = {0};
    size_t cursor = 0;
    CHECK(pn_map_check(&map));
    CHECK(pn_map_get(&map, 0) == NULL);
    CHECK(pn_map_take(&map, 0) == NULL);
    CHECK(pn_map_next(&map, &cursor) == NULL);
    pn_map_free(&map);
    CHECK_INT(live_blocks(), 0);
}

static void
test_key_zero_and_the_last_key_are_keys(void)
{
    pn_map map = {0};
    CHECK_INT(pn_map_put(&map, 0, &things[0]), PN_OK);
    CHECK_INT(pn_map_put(&map, UINT64_MAX, &things[1]), PN_OK);
    CHECK(pn_map_get(&map, 0) == &things[0]);
    CHECK(pn_map_get(&map, UINT64_MAX) == &things[1]);
    CHECK(pn_map_get(&map, 1) == NULL);
    pn_map_free(&map);
}

static void
test_put_replaces_without_memory(void)
{
    pn_map map = {0};
    for (uint64_t key = 0; key < 6; key++) /* one more makes it grow */
        CHECK_INT(pn_map_put(&map, key, &things[0]), PN_OK);
    fail_after(0);
    CHECK_INT(pn_map_put(&map, 3, &things[1]), PN_OK);
    CHECK_INT(pn_map_put(&map, 6, &things[1]), PN_ENOMEM);
    fail_never();
    CHECK(pn_map_get(&map, 3) == &things[1]);
    CHECK_INT(map.count, 6);
    pn_map_free(&map);
}

static void
test_put_replaces(void)
{
    pn_map map = {0};
    CHECK_INT(pn_map_put(&map, 5, &things[0]), PN_OK);
    CHECK_INT(pn_map_put(&map, 5, &things[1]), PN_OK);
    CHECK_INT(map.count, 1);
    CHECK(pn_map_take(&map, 5) == &things[1]);
    CHECK(pn_map_take(&map, 5) == NULL);
    pn_map_free(&map);
}

static void
test_without_memory_nothing_changes(void)
{
    pn_map map = {0};
    fail_after(0);
    CHECK_INT(pn_map_put(&map, 1, &things[0]), PN_ENOMEM);
    CHECK(pn_map_check(&map) && map.count == 0);
    fail_never();
    uint64_t key = 0;
    for (int growth = 0; growth < 5; growth++) {
        fail_after(0);
        while (pn_map_put(&map, key, &things[key % 1000]) == PN_OK)
            key++;
        CHECK_INT(map.count, key);
        CHECK(pn_map_check(&map));
        CHECK(pn_map_get(&map, key) == NULL);
        fail_never();
        CHECK_INT(pn_map_put(&map, key, &things[key % 1000]), PN_OK);
        key++;
    }
    for (uint64_t k = 0; k < key; k++)
        CHECK(pn_map_get(&map, k) == &things[k % 1000]);
    pn_map_free(&map);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_zeroed_map_is_empty);
    RUN(test_key_zero_and_the_last_key_are_keys);
    RUN(test_put_replaces);
    RUN(test_put_replaces_without_memory);
    RUN(test_without_memory_nothing_changes);
    RUN(test_random_schedule_agrees_with_an_array);
    return 0;
}
