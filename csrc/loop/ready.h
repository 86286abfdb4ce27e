/* What a loop has to call next: a queue of pointers, first in, first out.
 * Owns none of them. Loop thread only, or under a lock of the user's.
 *   - capacity is 0 or a power of two; count <= capacity;
 *   - item i of the queue lies at (head + i) modulo capacity. */
#ifndef PN_LOOP_READY_H
#define PN_LOOP_READY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    void **items;
    size_t head;
    size_t count;
    size_t capacity;
} pn_ready;

/* All zeros is a valid empty queue; this frees the memory and makes it one
 * again. */
void pn_ready_free(pn_ready *ready);

/* Make room for one more. PN_ENOMEM changes nothing. */
int pn_ready_grow(pn_ready *ready);

/* Put item last. PN_ENOMEM changes nothing. */
static inline int
pn_ready_push(pn_ready *ready, void *item)
{
    if (ready->count == ready->capacity) {
        int err = pn_ready_grow(ready);
        if (err < 0)
            return err;
    }
    size_t at = (ready->head + ready->count++) & (ready->capacity - 1);
    ready->items[at] = item;
    return 0;
}

/* Take the first item; NULL if there is none. */
static inline void *
pn_ready_take(pn_ready *ready)
{
    if (ready->count == 0)
        return NULL;
    void *item = ready->items[ready->head];
    ready->head = (ready->head + 1) & (ready->capacity - 1);
    ready->count--;
    return item;
}

/* Item i, which is below count; the first is 0. */
static inline void *
pn_ready_at(const pn_ready *ready, size_t i)
{
    return ready->items[(ready->head + i) & (ready->capacity - 1)];
}

/* For tests: whether the invariants above hold. */
bool pn_ready_check(const pn_ready *ready);

#endif
