#include "mailbox/pending.h"

#include "base/alloc.h"
#include "base/status.h"
#include "mailbox/envelope.h"

void
pn_pending_init(pn_pending *pending, uint64_t first_id)
{
    *pending = (pn_pending){.last_id = first_id - 1};
}

void
pn_pending_free(pn_pending *pending)
{
    while (pending->free != NULL) {
        pn_waiter *next = pending->free->next;
        pn_free(pending->free);
        pending->free = next;
    }
    pn_map_free(&pending->waiters);
}

void
pn_pending_recycle(pn_pending *pending, pn_waiter *waiter)
{
    *waiter = (pn_waiter){.next = pending->free};
    pending->free = waiter;
}

static pn_waiter *
new_waiter(pn_pending *pending)
{
    pn_waiter *waiter = pending->free;
    if (waiter != NULL)
        pending->free = waiter->next;
    else
        waiter = pn_alloc(sizeof *waiter);
    return waiter;
}

int
pn_pending_add(pn_pending *pending, uint64_t source, uint64_t target,
               void *object, uint64_t *id)
{
    pn_waiter *waiter = new_waiter(pending);
    if (waiter == NULL)
        return PN_ENOMEM;
    *waiter = (pn_waiter){
        .object = object,
        .id = pending->last_id + 1,
        .source = source,
        .target = target,
    };
    int err = pn_map_put(&pending->waiters, waiter->id, waiter);
    if (err < 0) {
        pn_pending_recycle(pending, waiter);
        return err;
    }
    *id = ++pending->last_id;
    return PN_OK;
}

void
pn_pending_mark(pn_pending *pending, uint64_t id)
{
    pn_waiter *waiter = pn_map_get(&pending->waiters, id);
    if (waiter != NULL)
        waiter->kill = true;
}

void *
pn_pending_take(pn_pending *pending, uint64_t id)
{
    pn_waiter *waiter = pn_map_take(&pending->waiters, id);
    if (waiter == NULL)
        return NULL;
    void *object = waiter->object;
    pn_pending_recycle(pending, waiter);
    return object;
}

void
pn_pending_bind(pn_pending *pending, uint64_t id, uint64_t target)
{
    pn_waiter *waiter = pn_map_get(&pending->waiters, id);
    if (waiter != NULL)
        waiter->target = target;
}

/* Merge sort by id: the list may hold a hundred thousand entries. */
static pn_waiter *
merge(pn_waiter *a, pn_waiter *b)
{
    pn_waiter *first = NULL, **tail = &first;
    while (a != NULL && b != NULL) {
        pn_waiter **smaller = a->id < b->id ? &a : &b;
        *tail = *smaller;
        tail = &(*smaller)->next;
        *smaller = *tail;
    }
    *tail = a != NULL ? a : b;
    return first;
}

/* The first count entries of *rest as a sorted list; *rest moves behind. */
static pn_waiter *
sort(pn_waiter **rest, size_t count)
{
    if (count == 1) {
        pn_waiter *only = *rest;
        *rest = only->next;
        only->next = NULL;
        return only;
    }
    pn_waiter *left = sort(rest, count / 2);
    return merge(left, sort(rest, count - count / 2));
}

/* All that has an id up to last and, unless all, a target in node. */
static pn_waiter *
take(pn_pending *pending, uint64_t node, bool all, uint64_t last)
{
    pn_waiter *list = NULL;
    size_t cursor = 0, count = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&pending->waiters, &cursor)) != NULL) {
        pn_waiter *waiter = entry->value;
        if (waiter->id > last || (!all && pn_node_of(waiter->target) != node))
            continue;
        waiter->next = list;
        list = waiter;
        count++;
    }
    for (pn_waiter *waiter = list; waiter != NULL; waiter = waiter->next)
        (void)pn_map_take(&pending->waiters, waiter->id);
    return count == 0 ? NULL : sort(&list, count);
}

pn_waiter *
pn_pending_take_node(pn_pending *pending, uint64_t node, bool all)
{
    return take(pending, node, all, UINT64_MAX);
}

pn_waiter *
pn_pending_take_until(pn_pending *pending, uint64_t node, uint64_t last)
{
    return take(pending, node, false, last);
}
