#include "sys/segpool.h"

#include "base/alloc.h"
#include "base/status.h"
#include "sys/segment.h"

#include <unistd.h>

/* So many payloads of a class go in band before a segment is made for it. */
#define MISSES 3

/* After a failure none is made for so long: descriptors or memory are short,
 * or a sandbox forbids it. */
#define PAUSE_NS 1000000000

/* A segment may be this many times larger than what it carries. */
#define WASTE 4

void
pn_segpool_init(pn_segpool *pool, pn_segment_budget *budget)
{
    *pool = (pn_segpool){.budget = budget};
}

static void
discard(pn_segpool *pool, pn_pooled *pooled)
{
    pool->budget->bytes -= pooled->size;
    pool->budget->count--;
    pn_segment_unmap(pooled->data, pooled->size);
    pn_free(pooled);
}

void
pn_segpool_free(pn_segpool *pool)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&pool->lent, &cursor)) != NULL)
        discard(pool, entry->value);
    while (pool->free != NULL) {
        pn_pooled *pooled = pool->free;
        pool->free = pooled->next;
        discard(pool, pooled);
    }
    if (pool->offered != NULL)
        discard(pool, pool->offered);
    pn_map_free(&pool->lent);
    pn_segpool_init(pool, pool->budget);
}

pn_pooled *
pn_segpool_take(pn_segpool *pool, size_t size, int64_t now)
{
    pn_pooled **at = &pool->free;
    while (*at != NULL && ((*at)->size < size || (*at)->size / WASTE > size))
        at = &(*at)->next;
    pn_pooled *pooled = *at;
    if (pooled == NULL || pn_map_put(&pool->lent, pooled->id, pooled) < 0)
        return NULL;
    *at = pooled->next;
    pooled->next = NULL;
    pooled->used_at = now;
    return pooled;
}

/* The size of a segment for size bytes: its two leading bits are free, so
 * that four sizes lie between a power of two and the next and no more than a
 * fifth is wasted. */
static size_t
rounded(size_t size)
{
    size_t step = PN_SEGMENT_THRESHOLD / 4;
    while (step < size / 8)
        step *= 2;
    return (size + step - 1) / step * step;
}

static unsigned
class_of(size_t size)
{
    unsigned order = 0;
    while (order < PN_SEGMENT_CLASSES - 1 && size >> order > 1)
        order++;
    return order;
}

static bool
has_room(const pn_segment_budget *budget, size_t size)
{
    return budget->count < budget->count_limit &&
           budget->bytes <= budget->byte_limit &&
           size <= budget->byte_limit - budget->bytes;
}

static int
make(pn_segpool *pool, size_t size, int *fd)
{
    pn_pooled *pooled = pn_alloc_zeroed(1, sizeof *pooled);
    if (pooled == NULL)
        return PN_ENOMEM;
    int err = pn_segment_make(size, fd, &pooled->data);
    if (err < 0) {
        pn_free(pooled);
        return err;
    }
    pooled->id = ++pool->last_id;
    pooled->size = size;
    pool->offered = pooled;
    pool->budget->bytes += size;
    pool->budget->count++;
    return PN_OK;
}

int
pn_segpool_miss(pn_segpool *pool, size_t size, int64_t now,
                pn_segment_offer *out)
{
    size_t whole = size > PN_SEGMENT_LIMIT ? size : rounded(size);
    if (whole > PN_SEGMENT_LIMIT || whole > pool->budget->byte_limit)
        return PN_MORE;
    uint8_t *misses = &pool->misses[class_of(whole)];
    if (*misses < MISSES)
        ++*misses;
    if (*misses < MISSES || pool->offered != NULL || now < pool->not_before ||
        !has_room(pool->budget, whole))
        return PN_MORE;
    int fd = -1;
    if (make(pool, whole, &fd) < 0) {
        pool->not_before = now + PAUSE_NS;
        return PN_MORE;
    }
    *misses = 0;
    *out =
        (pn_segment_offer){.id = pool->offered->id, .size = whole, .fd = fd};
    return PN_OK;
}

int
pn_segpool_ready(pn_segpool *pool, uint64_t id, int64_t now)
{
    pn_pooled *pooled = pool->offered;
    if (pooled != NULL && pooled->id == id)
        pool->offered = NULL;
    else
        pooled = pn_map_take(&pool->lent, id);
    if (pooled == NULL)
        return PN_EPROTO;
    pooled->used_at = now;
    pooled->next = pool->free;
    pool->free = pooled;
    return PN_OK;
}

int
pn_segpool_refused(pn_segpool *pool, uint64_t id, int64_t now)
{
    if (pool->offered == NULL || pool->offered->id != id)
        return PN_EPROTO;
    discard(pool, pool->offered);
    pool->offered = NULL;
    pool->not_before = now + PAUSE_NS;
    return PN_OK;
}

bool
pn_segpool_expire(pn_segpool *pool, int64_t before, uint64_t *id)
{
    pn_pooled **at = &pool->free;
    while (*at != NULL && (*at)->used_at >= before)
        at = &(*at)->next;
    pn_pooled *pooled = *at;
    if (pooled == NULL)
        return false;
    *at = pooled->next;
    *id = pooled->id;
    discard(pool, pooled);
    return true;
}

bool
pn_segpool_check(const pn_segpool *pool)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    for (const pn_pooled *p = pool->free; p != NULL; p = p->next) {
        if (pn_map_get(&pool->lent, p->id) != NULL || p == pool->offered ||
            (p->next != NULL && p->next->used_at > p->used_at))
            return false;
    }
    while ((entry = pn_map_next(&pool->lent, &cursor)) != NULL) {
        const pn_pooled *pooled = entry->value;
        if (pooled->id != entry->key || pooled == pool->offered)
            return false;
    }
    return pool->offered == NULL || pool->offered->id <= pool->last_id;
}
