#include "sys/heap.h"

#ifdef __GLIBC__

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    LARGEST = 1 << 16,
    EXACT = 1024, /* below, free blocks are kept by their exact size */
    STEP = 16,
};

/* Where blocks lie that are not new: between the heap's start and what is
 * left at its end. */
typedef struct {
    uintptr_t start, end;
} old_part;

static old_part
find_old_part(void)
{
#if __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();
#else
    struct mallinfo info = mallinfo();
#endif
    uintptr_t end = (uintptr_t)sbrk(0);
    return (old_part){.start = end - (uintptr_t)info.arena,
                      .end = end - (uintptr_t)info.keepcost};
}

/* Take one block of that size. False if there was none but at the end. */
static bool
take(const old_part *old, size_t size)
{
    void *block = malloc(size);
    uintptr_t at = (uintptr_t)block;
    if (at >= old->start && at < old->end)
        return true;
    free(block);
    return false;
}

size_t
pn_heap_fill(void)
{
    old_part old = find_old_part();
    size_t taken = 0, size = LARGEST;
    while (size >= STEP) {
        if (take(&old, size))
            taken += size;
        else
            size = size > EXACT ? size / 2 : size - STEP;
    }
    return taken;
}

#else

size_t
pn_heap_fill(void)
{
    return 0;
}

#endif
