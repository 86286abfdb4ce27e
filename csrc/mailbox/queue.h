/* Messages from other threads of the process: many producers, one consumer,
 * lock-free (D. Vyukov's intrusive queue, 2010: a push is one exchange and one
 * store), with one wake-up for all that is pushed until the consumer rests.
 * Nodes belong to the caller, who embeds them.
 *   - what one producer pushes comes out in the order of its pushing;
 *   - of the pushes between two rests exactly one is told to wake the
 *     consumer, if there are any: the first to have its node in place;
 *   - the queue outlives every call of push that has begun, though its node
 *     may be taken, and freed, before that call returns. */
#ifndef PN_MAILBOX_QUEUE_H
#define PN_MAILBOX_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct pn_queue_node {
    _Atomic(struct pn_queue_node *) next;
} pn_queue_node;

typedef struct {
    _Atomic(pn_queue_node *) last; /* producers */
    atomic_bool awake;             /* nobody needs to wake the consumer */
    pn_queue_node *first;          /* consumer */
    pn_queue_node stub;            /* so that the chain is never empty */
} pn_queue;

/* An empty queue whose consumer rests. It must not move afterwards. */
void pn_queue_init(pn_queue *queue);

/* Any thread. Returns whether the caller is to wake the consumer. */
bool pn_queue_push(pn_queue *queue, pn_queue_node *node);

/* Consumer: the next node, which is the caller's from now on; or NULL if there
 * is none, or none can be had because a push is under way at this moment
 * (which will be told to wake a consumer that rests meanwhile). Before it
 * sleeps the consumer calls pn_queue_rest and looks once more. */
pn_queue_node *pn_queue_take(pn_queue *queue);

/* Consumer: from now on the first push is told to wake it. */
void pn_queue_rest(pn_queue *queue);

#endif
