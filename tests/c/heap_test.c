#include "check.h"

#include "sys/heap.h"

enum { COUNT = 200, SIZE = 200 };

static char *blocks[COUNT];

/* Every second block is free. */
static void
make_gaps(void)
{
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(SIZE);
        CHECK(blocks[i] != NULL);
    }
    for (int i = 0; i < COUNT; i += 2)
        free(blocks[i]);
}

static bool
is_gap(const char *block)
{
    for (int i = 0; i < COUNT; i += 2) {
        if (blocks[i] == block)
            return true;
    }
    return false;
}

static void
test_gaps_are_not_given_any_more(void)
{
    make_gaps();
    if (pn_heap_fill() == 0)
        return; /* another malloc */
    char *after[COUNT];
    for (int i = 0; i < COUNT; i++) {
        after[i] = malloc(SIZE);
        CHECK(after[i] != NULL && !is_gap(after[i]));
    }
    for (int i = 0; i < COUNT; i++)
        free(after[i]);
    for (int i = 1; i < COUNT; i += 2)
        free(blocks[i]);
}

int
main(void)
{
    RUN(test_gaps_are_not_given_any_more);
    return 0;
}
