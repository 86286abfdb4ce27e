#include "python/pools.h"

#include "python/state.h"

#include <stdint.h>

/* As Objects/obmalloc.c lays pools out. Were it otherwise, some memory would
 * be taken in vain: MOST bounds that. */
enum {
    POOL = 1 << 14,
    HEADER = 48,
    LARGEST = 512,
    STEP = 16,
    MOST = 16 * POOL, /* of one size */
};

/* Whether a pool begins with this block: no other one had room. */
static int
is_first(const void *block)
{
    return ((uintptr_t)block & (POOL - 1)) == HEADER;
}

static void
fill_size(size_t size)
{
    for (size_t taken = 0; taken < MOST; taken += size) {
        void *block = PyObject_Malloc(size);
        if (block == NULL)
            return;
        if (is_first(block)) {
            PyObject_Free(block);
            return;
        }
    }
}

void
pn_pools_fill(void)
{
    for (size_t size = STEP; size <= LARGEST; size += STEP)
        fill_size(size);
}
