/* Stands in for csrc/base/alloc.c in the C tests. */
#include "base/alloc.h"
#include "check.h"

#include <stdatomic.h>
#include <time.h>

static atomic_long countdown = -1; /* -1: never fail */
static atomic_long live = 0;

static bool
must_fail(void)
{
    long left = atomic_load(&countdown);
    if (left < 0)
        return false;
    if (left == 0)
        return true;
    atomic_store(&countdown, left - 1);
    return false;
}

void *
pn_alloc(size_t size)
{
    void *block = must_fail() ? NULL : malloc(size);
    if (block != NULL)
        atomic_fetch_add(&live, 1);
    return block;
}

void *
pn_alloc_aligned(size_t size)
{
    void *block;
    if (must_fail() || posix_memalign(&block, PN_ALIGNMENT, size) != 0)
        return NULL;
    atomic_fetch_add(&live, 1);
    return block;
}

void *
pn_alloc_zeroed(size_t count, size_t size)
{
    void *block = must_fail() ? NULL : calloc(count, size);
    if (block != NULL)
        atomic_fetch_add(&live, 1);
    return block;
}

void *
pn_realloc(void *block, size_t size)
{
    if (must_fail())
        return NULL;
    void *moved = realloc(block, size);
    if (moved != NULL && block == NULL)
        atomic_fetch_add(&live, 1);
    return moved;
}

void
pn_free(void *block)
{
    if (block != NULL)
        atomic_fetch_sub(&live, 1);
    free(block);
}

void
fail_after(long n)
{
    atomic_store(&countdown, n);
}

void
fail_never(void)
{
    atomic_store(&countdown, -1);
}

long
live_blocks(void)
{
    return atomic_load(&live);
}

void
test_random_init(test_random *random)
{
    const char *text = getenv("PN_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0)
                                 : (uint64_t)time(NULL) * 2654435761u;
    random->state = seed != 0 ? seed : 1;
    printf("seed: PN_SEED=%llu\n", (unsigned long long)random->state);
}

uint64_t
test_random_next(test_random *random)
{
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * 2685821657736338717u;
}
