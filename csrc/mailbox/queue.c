#include "mailbox/queue.h"

#include <stddef.h>

/* The chain runs from `first` to `last`, each node pointing to the next one.
 * An exchange of `last` decides who follows whom; the link from the
 * predecessor is stored after it, so the chain may be open for a moment at
 * that place, and what lies behind cannot be reached until it is closed. */

void
pn_queue_init(pn_queue *queue)
{
    /* No other thread knows the queue yet. */
    atomic_init(&queue->stub.next, NULL);
    atomic_init(&queue->last, &queue->stub);
    atomic_init(&queue->awake, false);
    queue->first = &queue->stub;
}

static void
append(pn_queue *queue, pn_queue_node *node)
{
    /* Relaxed: the node is ours until the exchange. */
    atomic_store_explicit(&node->next, NULL, memory_order_relaxed);

    /* Release pairs with the acquire of the exchange that follows: who
     * becomes our successor stores into our `next` after our NULL. */
    pn_queue_node *before =
        atomic_exchange_explicit(&queue->last, node, memory_order_acq_rel);

    /* Release pairs with the acquire in next_of: who sees the link sees what
     * the producer wrote into the node. `before` cannot have been taken: the
     * consumer takes a node only when it sees its link. */
    atomic_store_explicit(&before->next, node, memory_order_release);
}

/* Acquire pairs with the release of the link in append. */
static pn_queue_node *
next_of(pn_queue_node *node)
{
    return atomic_load_explicit(&node->next, memory_order_acquire);
}

bool
pn_queue_push(pn_queue *queue, pn_queue_node *node)
{
    append(queue, node);

    /* The operations on `awake`, here and in pn_queue_rest, are all exchanges,
     * so each reads what the one before it wrote. Either ours comes before
     * the consumer's: then its acquire sees our release, through the other
     * producers' in between, and the look that follows finds our link. Or it
     * comes after: then it, or another producer's in between, reads false
     * and wakes. So no wake-up is lost, and none is told twice. */
    return !atomic_exchange_explicit(&queue->awake, true,
                                     memory_order_acq_rel);
}

void
pn_queue_rest(pn_queue *queue)
{
    /* Acquire: see pn_queue_push. Release: pairs with the acquire of the push
     * that wakes, so what the consumer did before it rested is seen by who
     * wakes it. */
    (void)atomic_exchange_explicit(&queue->awake, false, memory_order_acq_rel);
}

pn_queue_node *
pn_queue_take(pn_queue *queue)
{
    pn_queue_node *first = queue->first, *next = next_of(first);
    if (first == &queue->stub) {
        if (next == NULL)
            return NULL;
        queue->first = first = next;
        next = next_of(first);
    }
    if (next == NULL) {
        /* The last one leaves only when something else is last. Relaxed: the
         * value is compared, not followed. Since we have seen the link to
         * `first`, we read `first` or what came later; if it is out of date,
         * append learns the truth. Once it has, we never read `first` again,
         * so the stub is never twice in the chain. */
        if (atomic_load_explicit(&queue->last, memory_order_relaxed) != first)
            return NULL;
        append(queue, &queue->stub);
        next = next_of(first);
        if (next == NULL)
            return NULL; /* somebody else has come between */
    }
    queue->first = next;
    return first;
}
