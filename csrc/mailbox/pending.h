/* Replies still owed to callers: ask id -> waiter. Loop thread only.
 *   - an entry leaves the table before its waiter hears of it, so a waiter
 *     hears once;
 *   - ids are never used twice in the life of a table. */
#ifndef PN_MAILBOX_PENDING_H
#define PN_MAILBOX_PENDING_H

#include "base/map.h"

typedef struct pn_waiter {
    struct pn_waiter *next; /* in a list that was taken, or in the free list */
    void *object;           /* the binding's future; owned by the entry */
    uint64_t id;
    uint64_t source; /* the actor that asked */
    uint64_t target;
    bool kill; /* given up, it costs its target's process, if it runs there */
} pn_waiter;

typedef struct {
    pn_map waiters;
    pn_waiter *free;
    uint64_t last_id;
} pn_pending;

/* first_id is what the first ask gets, at least 1. */
void pn_pending_init(pn_pending *pending, uint64_t first_id);

/* Free the table. Every waiter must have been taken. */
void pn_pending_free(pn_pending *pending);

/* Owe a reply from target to source, for object: the reference passes to the
 * table, and *id is what the ask carries. PN_ENOMEM leaves it with the caller.
 */
int pn_pending_add(pn_pending *pending, uint64_t source, uint64_t target,
                   void *object, uint64_t *id);

/* The ask is one that may cost a process. Unknown ids are ignored. */
void pn_pending_mark(pn_pending *pending, uint64_t id);

/* The object waiting for id, which passes to the caller; NULL if none. */
void *pn_pending_take(pn_pending *pending, uint64_t id);

/* Say who will answer an ask that was sent to a name. Unknown ids are
 * ignored: the reply may have come first. */
void pn_pending_bind(pn_pending *pending, uint64_t id, uint64_t target);

/* Take all whose target lives in node (see pn_node_of), or, with all, every
 * one: a list in the order of their ids, whose entries the caller hands back
 * by pn_pending_recycle after taking their objects. */
pn_waiter *pn_pending_take_node(pn_pending *pending, uint64_t node, bool all);

/* The same for a node, up to the ask `last`. */
pn_waiter *pn_pending_take_until(pn_pending *pending, uint64_t node,
                                 uint64_t last);

/* Give one taken entry back for use. */
void pn_pending_recycle(pn_pending *pending, pn_waiter *waiter);

static inline size_t
pn_pending_count(const pn_pending *pending)
{
    return pending->waiters.count;
}

#endif
