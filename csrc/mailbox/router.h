/* Where messages go: actor number -> link, and which two actors have talked,
 * so that the end of one is told to those whom it concerns, and who has a
 * link to whom. Loop thread only.
 *   - talking is mutual: one pn_talk stands in both routes' peers, under the
 *     other's number, until either route is removed. */
#ifndef PN_MAILBOX_ROUTER_H
#define PN_MAILBOX_ROUTER_H

#include "base/map.h"
#include "mailbox/meeting.h"

typedef struct {
    uint64_t number;
    void *link;   /* the way to the actor's process; borrowed */
    pn_map peers; /* number of who it has talked with -> pn_talk */
} pn_route;

typedef struct {
    pn_route *ends[2];
    pn_pair pair; /* of their own link; its ends are those */
} pn_talk;

typedef struct {
    pn_map routes;
} pn_router;

/* All zeros is a valid empty router; this frees it with its routes. */
void pn_router_free(pn_router *router);

/* Add the way to an actor, or replace its link. PN_ENOMEM changes nothing. */
int pn_router_add(pn_router *router, uint64_t number, void *link);

/* The route, borrowed until it is removed, or NULL. */
pn_route *pn_router_find(const pn_router *router, uint64_t number);

/* Remember that source and target talk; both are routes of this router.
 * Cheap when already known. PN_ENOMEM changes nothing. */
int pn_router_note_talk(pn_route *source, pn_route *target);

/* What is known of these two, borrowed until either is removed; NULL if they
 * have not talked. */
static inline pn_talk *
pn_router_talk(const pn_route *source, const pn_route *target)
{
    return pn_map_get(&source->peers, target->number);
}

/* Forget the actor; its peers forget it too. */
void pn_router_remove(pn_router *router, uint64_t number);

/* For tests: whether the invariants above hold. */
bool pn_router_check(const pn_router *router);

#endif
