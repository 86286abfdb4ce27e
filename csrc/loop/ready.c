#include "loop/ready.h"

#include "base/alloc.h"
#include "base/status.h"

#include <stdint.h>
#include <string.h>

#define MIN_CAPACITY 64

void
pn_ready_free(pn_ready *ready)
{
    pn_free(ready->items);
    *ready = (pn_ready){0};
}

int
pn_ready_grow(pn_ready *ready)
{
    size_t old = ready->capacity;
    size_t capacity = old == 0 ? MIN_CAPACITY : old * 2;
    if (capacity > SIZE_MAX / sizeof *ready->items)
        return PN_ENOMEM;
    void *larger = pn_realloc(ready->items, capacity * sizeof *ready->items);
    if (larger == NULL)
        return PN_ENOMEM;
    ready->items = larger;
    ready->capacity = capacity;
    /* What had wrapped round the old end goes on behind it. */
    if (ready->head > 0)
        memcpy(ready->items + old, ready->items,
               ready->head * sizeof *ready->items);
    return PN_OK;
}

bool
pn_ready_check(const pn_ready *ready)
{
    size_t capacity = ready->capacity;
    if (capacity == 0)
        return ready->items == NULL && ready->count == 0 && ready->head == 0;
    return (capacity & (capacity - 1)) == 0 && ready->items != NULL &&
           ready->count <= capacity && ready->head < capacity;
}
