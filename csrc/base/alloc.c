#include "base/alloc.h"

#include <stdlib.h>

void *
pn_alloc(size_t size)
{
    return malloc(size);
}

void *
pn_alloc_aligned(size_t size)
{
    void *block;
    return posix_memalign(&block, PN_ALIGNMENT, size) == 0 ? block : NULL;
}

void *
pn_alloc_zeroed(size_t count, size_t size)
{
    return calloc(count, size);
}

void *
pn_realloc(void *block, size_t size)
{
    return realloc(block, size);
}

void
pn_free(void *block)
{
    free(block);
}
