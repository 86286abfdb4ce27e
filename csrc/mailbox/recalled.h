/* Asks that were cancelled before they came: control overtakes payload, so a
 * cancel may be ahead of a hundred thousand asks that still wait in their
 * sender's outbox. Remembered by a key each, for a while. Time is an argument.
 * Loop thread only.
 *   - the ring holds every key of the set, in the order of coming; a key that
 *     was taken stays in the ring until it is old. */
#ifndef PN_MAILBOX_RECALLED_H
#define PN_MAILBOX_RECALLED_H

#include "base/map.h"

/* Keys that are kept at once: more than an outbox holds by default. Of more,
 * those that came first are forgotten. */
#define PN_RECALLED_LIMIT ((size_t)1 << 17)

/* A key is kept for this long, if there is need for room. */
#define PN_RECALLED_NS ((int64_t)60 * 1000000000)

typedef struct {
    uint64_t key;
    int64_t came; /* monotonic ns */
} pn_recall;

typedef struct {
    pn_map keys;
    pn_recall *ring;
    size_t capacity; /* 0 or a power of two, at most PN_RECALLED_LIMIT */
    size_t first;
    size_t count;
} pn_recalled;

/* All zeros is a valid empty one; this frees it. */
void pn_recalled_free(pn_recalled *recalled);

/* Remember a key, forgetting those that are old. PN_ENOMEM changes nothing:
 * the ask will run in vain. */
int pn_recalled_add(pn_recalled *recalled, uint64_t key, int64_t now);

/* Whether the key is remembered; it is forgotten by this. */
bool pn_recalled_take(pn_recalled *recalled, uint64_t key);

/* For tests: whether the invariant above holds. */
bool pn_recalled_check(const pn_recalled *recalled);

#endif
