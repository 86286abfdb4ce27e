/* The sender's segments of one link. A segment is offered to the link's far
 * end, which maps it; from then on it carries payloads, one at a time: it is
 * lent with a message and comes back when the receiver has dropped the last
 * of it. Nothing waits for a segment: what finds none goes in band. Loop
 * thread only.
 *   - a segment is offered, free or lent, and mapped here all the while;
 *   - at most one is offered at a time, so no more descriptors are in flight;
 *   - the free list has the one used last first;
 *   - budget counts the segments of all pools that share it. */
#ifndef PN_SYS_SEGPOOL_H
#define PN_SYS_SEGPOOL_H

#include "base/map.h"

/* Payloads from this size on go by segment. Measured (docs/design.md): below,
 * the socket is as fast. */
#define PN_SEGMENT_THRESHOLD (64 * 1024)

#define PN_SEGMENT_CLASSES 32

/* One segment. While it is lent or just taken, whoever took it writes data. */
typedef struct pn_pooled {
    struct pn_pooled *next;
    uint64_t id;
    uint8_t *data;
    size_t size;
    int64_t used_at; /* ns */
} pn_pooled;

/* What the pools of one actor hold together, and may. */
typedef struct {
    size_t bytes;
    size_t count;
    size_t byte_limit;
    size_t count_limit;
} pn_segment_budget;

typedef struct {
    pn_segment_budget *budget; /* outlives the pool */
    pn_pooled *free;
    pn_pooled *offered;
    pn_map lent; /* id -> pn_pooled */
    uint64_t last_id;
    int64_t not_before; /* ns; no segment is made earlier, after a failure */
    uint8_t misses[PN_SEGMENT_CLASSES];
} pn_segpool;

/* A segment that the far end is to map. */
typedef struct {
    uint64_t id;
    size_t size;
    int fd; /* the caller's, to pass on and close */
} pn_segment_offer;

void pn_segpool_init(pn_segpool *pool, pn_segment_budget *budget);

/* Unmap everything: the far end has its own mappings. */
void pn_segpool_free(pn_segpool *pool);

/* A segment with room for size bytes, lent from now on; NULL if none is free
 * or there is no memory to note it. */
pn_pooled *pn_segpool_take(pn_segpool *pool, size_t size, int64_t now);

/* A payload of size bytes found no segment. Making one costs as much as a few
 * messages save, so it takes several such misses; then PN_OK, and *out is to
 * be offered. PN_MORE: not now. */
int pn_segpool_miss(pn_segpool *pool, size_t size, int64_t now,
                    pn_segment_offer *out);

/* The far end has mapped segment id, or gives it back. PN_EPROTO if it is
 * neither offered nor lent. */
int pn_segpool_ready(pn_segpool *pool, uint64_t id, int64_t now);

/* Segment id could not be offered, or the far end does not map it: it is
 * dropped, and none is made for a while. PN_EPROTO if it is not offered. */
int pn_segpool_refused(pn_segpool *pool, uint64_t id, int64_t now);

/* Drop one free segment that was used last before that time; the far end is
 * to be told that *id has gone. False if there is none. */
bool pn_segpool_expire(pn_segpool *pool, int64_t before, uint64_t *id);

/* For tests: whether the invariants above hold, budget apart. */
bool pn_segpool_check(const pn_segpool *pool);

#endif
