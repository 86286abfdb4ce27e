/* The allocator, and the one that stands in for it in the other tests: both
 * keep the contract of base/alloc.h, and the second fails on command. */
#include "check.h"

/* The real one, which the test programs do not link, under other names. */
#define pn_alloc real_alloc
#define pn_alloc_aligned real_alloc_aligned
#define pn_alloc_zeroed real_alloc_zeroed
#define pn_realloc real_realloc
#define pn_free real_free
#include "base/alloc.c"
#undef pn_alloc
#undef pn_alloc_aligned
#undef pn_alloc_zeroed
#undef pn_realloc
#undef pn_free
#undef PN_BASE_ALLOC_H
#undef PN_ALIGNMENT
#include "base/alloc.h"

typedef struct {
    void *(*alloc)(size_t size);
    void *(*alloc_aligned)(size_t size);
    void *(*alloc_zeroed)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void (*free)(void *block);
} allocator;

static const allocator allocators[] = {
    {real_alloc, real_alloc_aligned, real_alloc_zeroed, real_realloc,
     real_free},
    {pn_alloc, pn_alloc_aligned, pn_alloc_zeroed, pn_realloc, pn_free},
};

#define ALLOCATORS (sizeof allocators / sizeof *allocators)

/* AddressSanitizer asks this: a size too large gives NULL, as without it. */
__attribute__((visibility("default"))) const char *
__asan_default_options(void);

const char *
__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* Out of the compiler's sight, which would warn of it. */
static volatile size_t too_much = SIZE_MAX / 2;

static void
test_blocks_are_writable_from_end_to_end(void)
{
    for (size_t i = 0; i < ALLOCATORS; i++) {
        const allocator *a = &allocators[i];
        for (size_t size = 1; size <= 65536; size *= 2) {
            uint8_t *block = a->alloc(size);
            CHECK(block != NULL);
            memset(block, 0xa5, size);
            a->free(block);
        }
    }
}

static void
test_aligned_blocks_are_aligned(void)
{
    for (size_t i = 0; i < ALLOCATORS; i++) {
        const allocator *a = &allocators[i];
        for (size_t size = 1; size <= 1 << 20; size = size * 3 + 1) {
            uint8_t *block = a->alloc_aligned(size);
            CHECK(block != NULL);
            CHECK_INT((uintptr_t)block % PN_ALIGNMENT, 0);
            memset(block, 0xa5, size);
            a->free(block);
        }
        CHECK(a->alloc_aligned(too_much) == NULL);
    }
    CHECK_INT(live_blocks(), 0);
}

static void
test_zeroed_blocks_are_zeroed(void)
{
    for (size_t i = 0; i < ALLOCATORS; i++) {
        uint8_t *block = allocators[i].alloc_zeroed(100, 7);
        CHECK(block != NULL);
        for (size_t k = 0; k < 700; k++)
            CHECK_INT(block[k], 0);
        allocators[i].free(block);
    }
}

static void
test_product_that_overflows_gives_nothing(void)
{
    for (size_t i = 0; i < ALLOCATORS; i++) {
        CHECK(allocators[i].alloc_zeroed(too_much, 4) == NULL);
        CHECK(allocators[i].alloc_zeroed(4, too_much) == NULL);
    }
}

static void
test_realloc_keeps_the_bytes(void)
{
    for (size_t i = 0; i < ALLOCATORS; i++) {
        const allocator *a = &allocators[i];
        uint8_t *block = a->realloc(NULL, 16);
        CHECK(block != NULL);
        memset(block, 7, 16);
        block = a->realloc(block, 100000);
        CHECK(block != NULL);
        for (size_t k = 0; k < 16; k++)
            CHECK_INT(block[k], 7);
        CHECK(a->realloc(block, too_much) == NULL);
        CHECK_INT(block[15], 7);
        a->free(block);
    }
}

static void
test_free_of_nothing_is_allowed(void)
{
    for (size_t i = 0; i < ALLOCATORS; i++)
        allocators[i].free(NULL);
    CHECK_INT(live_blocks(), 0);
}

static void
test_stand_in_counts_live_blocks(void)
{
    void *a = pn_alloc(1);
    void *b = pn_alloc_zeroed(1, 1);
    void *c = pn_realloc(NULL, 1);
    CHECK_INT(live_blocks(), 3);
    c = pn_realloc(c, 1000);
    CHECK_INT(live_blocks(), 3);
    pn_free(a);
    pn_free(b);
    pn_free(c);
    CHECK_INT(live_blocks(), 0);
}

static void
test_stand_in_fails_from_the_nth_on(void)
{
    fail_after(2);
    void *a = pn_alloc(1);
    void *b = pn_alloc_zeroed(1, 1);
    CHECK(a != NULL && b != NULL);
    CHECK(pn_alloc(1) == NULL);
    CHECK(pn_alloc_aligned(1) == NULL);
    CHECK(pn_alloc_zeroed(1, 1) == NULL);
    CHECK(pn_realloc(a, 2) == NULL);
    fail_never();
    a = pn_realloc(a, 2);
    CHECK(a != NULL);
    pn_free(a);
    pn_free(b);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_blocks_are_writable_from_end_to_end);
    RUN(test_aligned_blocks_are_aligned);
    RUN(test_zeroed_blocks_are_zeroed);
    RUN(test_product_that_overflows_gives_nothing);
    RUN(test_realloc_keeps_the_bytes);
    RUN(test_free_of_nothing_is_allowed);
    RUN(test_stand_in_counts_live_blocks);
    RUN(test_stand_in_fails_from_the_nth_on);
    return 0;
}
