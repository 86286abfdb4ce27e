/* Messages that wait at their sender until their targets take more. Who is
 * told by an actor to stop parks what is for it; so it does with all that is
 * for a node to which the way is full. Those that may go leave in turn, one
 * message a target. Entries belong to the caller, who embeds them and leaves
 * their fields alone while they stand here. Loop thread only.
 *   - what is for one target leaves in the order of its coming;
 *   - a target is known exactly while it is stopped or has an entry;
 *   - it stands in the round exactly while it has an entry, is not stopped,
 *     and its node is not halted;
 *   - an ask stands in asks exactly while it stands in a queue;
 *   - count and bytes are the sums over all queues. */
#ifndef PN_MAILBOX_PARK_H
#define PN_MAILBOX_PARK_H

#include "base/map.h"

typedef struct pn_parked {
    struct pn_parked *next; /* to the same target, later */
    struct pn_parked *previous;
    uint64_t target;
    uint64_t id; /* of an ask, as no other has; 0 for a tell */
    size_t bytes;
} pn_parked;

struct pn_park_target;

typedef struct {
    pn_map targets;              /* number -> pn_park_target */
    pn_map halted;               /* node -> the park */
    pn_map asks;                 /* id -> pn_parked */
    struct pn_park_target *turn; /* whose turn it is to go; a ring */
    size_t count;
    size_t bytes;
} pn_park;

/* All zeros is a valid empty one; this frees it and makes it one again. No
 * entry may be left. */
void pn_park_free(pn_park *park);

/* So many targets may be known before no other is stopped: who names actors
 * that are none takes no more memory than that. */
#define PN_PARK_TARGETS 65536

/* The target takes no more; depth is how many requests it may have under way,
 * or 0. PN_ENOMEM, PN_EFULL: it is not known to be stopped. */
int pn_park_stop(pn_park *park, uint64_t target, uint32_t depth);

/* It takes more again. */
void pn_park_go(pn_park *park, uint64_t target);

/* So do all actors of a node, as far as anybody knows. */
void pn_park_go_node(pn_park *park, uint64_t node);

/* The same for all actors of a node: the way to it is full. */
int pn_park_halt(pn_park *park, uint64_t node);
void pn_park_release(pn_park *park, uint64_t node);

/* Whether a message for target must be parked, for that is stopped or others
 * are before it. */
bool pn_park_is_closed(const pn_park *park, uint64_t target);

/* The depth with which target is stopped, or 0. */
uint32_t pn_park_depth(const pn_park *park, uint64_t target);

/* Add an entry behind those for its target; target, id and bytes are set.
 * PN_EFULL: so many messages, or bytes, wait for that target already;
 * PN_ENOMEM. Both change nothing. */
int pn_park_put(pn_park *park, pn_parked *entry, size_t messages,
                size_t bytes);

/* The message that may go next, borrowed; NULL if none may. */
pn_parked *pn_park_next(const pn_park *park);

/* It cannot go now: let the next target have its turn. */
void pn_park_skip(pn_park *park);

/* Take an entry out, wherever it stands; the turn passes on if it was its
 * target's. */
void pn_park_take(pn_park *park, pn_parked *entry);

/* The parked ask, borrowed; NULL if it does not stand here. */
pn_parked *pn_park_find(const pn_park *park, uint64_t id);

/* Take everything for the actors of a node, or for all, linked by next in the
 * order of coming to each; forget what was said of them. */
pn_parked *pn_park_take_node(pn_park *park, uint64_t node, bool all);

/* For tests: whether the invariants above hold. */
bool pn_park_check(const pn_park *park);

#endif
