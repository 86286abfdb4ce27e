/* A box: where the messages for one node from its own process lie, in two
 * lanes as on a link. Pushed into from any thread that holds the GIL, emptied
 * on the node's. Counted references: the node's, and one for each node that
 * knows the way; all changed with the GIL held. */
#ifndef PN_PYTHON_BOX_H
#define PN_PYTHON_BOX_H

#include "base/map.h"
#include "python/letter.h"

typedef struct {
    pn_queue control;
    pn_queue payload;
    atomic_size_t count;    /* of letters */
    atomic_size_t messages; /* of them, those that are no control */
    atomic_size_t bytes;    /* of their payloads */
    size_t references;
    uint64_t node;
    uint64_t group; /* the arbiter's number; nodes of other groups are none */
    unsigned long thread;
    int wake_fd;     /* an eventfd; -1: pushed into by its own thread only */
    bool closed;     /* its node has ended */
    pn_map watchers; /* node -> box of one that waits; one ref each */
    size_t watch_messages; /* with no more than so much here, they are told */
    size_t watch_bytes;
    bool nudged; /* a box that its node watches holds little now */
} pn_box;

/* A new box of the calling thread with one reference; NULL: no memory. */
pn_box *pn_box_new(uint64_t node);

/* Let other threads wake the node: make the eventfd. 0 or -errno. */
int pn_box_open(pn_box *box);

/* Undo that, before anybody else knows the box. */
void pn_box_unopen(pn_box *box);

/* The node ends: what lies there is freed, what comes later is not taken. */
void pn_box_close(pn_box *box);

/* Take nothing more, though the node may live: its arbiter has given it up.
 * Any thread. */
void pn_box_shut(pn_state *state, pn_box *box);

pn_box *pn_box_keep(pn_box *box);
void pn_box_drop(pn_box *box);

/* Push a letter, which passes to the box. PN_OK, PN_MORE: the same, and the
 * calling thread, which is the node's own, must see that the box is looked
 * into; PN_ECLOSED: the letter was freed. */
int pn_box_push(pn_box *box, pn_letter *letter);

/* The next letter, control first, which passes to the caller; NULL: none, and
 * the next push wakes the node. Node's thread only. */
pn_letter *pn_box_take(pn_box *box);

/* Whether the node is to look into the box: something was pushed since take
 * last gave NULL. Then no push wakes it. Node's thread only. */
bool pn_box_is_awake(pn_box *box);

/* Nudge and wake the node of watcher once no more than that lies in the box,
 * or it is closed. The same limits for all. False: no memory. */
bool pn_box_tell_below(pn_box *box, pn_box *watcher, size_t messages,
                       size_t bytes);

/* Forget the wake-ups that have come. */
void pn_box_acknowledge(pn_box *box);

/* The box of a node of this process and group, borrowed, or NULL: `boxes` of
 * the module's state. */
pn_box *pn_box_find(pn_state *state, uint64_t node, uint64_t group);

/* Let the box be found, or no longer. 0, or -1 with an exception. */
int pn_box_publish(pn_state *state, pn_box *box);
void pn_box_withdraw(pn_state *state, pn_box *box);

#endif
