/* Messages that wait for one actor until it may begin another: a queue for
 * each actor that sent some, taken from in turn, so that nobody who sends
 * much delays who sends little. Entries belong to the caller, who embeds
 * them and leaves their fields alone while they stand here. Loop thread only.
 *   - what comes from one source leaves in the order of its coming;
 *   - a source stands in the round exactly while it has an entry, and comes
 *     into it behind all others;
 *   - count and bytes are the sums over all queues. */
#ifndef PN_MAILBOX_WAITING_H
#define PN_MAILBOX_WAITING_H

#include "base/map.h"

typedef struct pn_waiting_entry {
    struct pn_waiting_entry *next; /* of the same source, later */
    struct pn_waiting_entry *previous;
    struct pn_waiting_entry *newer; /* of all sources, later */
    struct pn_waiting_entry *older;
    uint64_t source;
    uint64_t id;     /* of an ask; 0 for a tell */
    uint64_t serial; /* order of coming; set by put */
    int64_t came;    /* monotonic ns */
    size_t bytes;
} pn_waiting_entry;

struct pn_waiting_source;

typedef struct {
    pn_map sources;                 /* source -> pn_waiting_source */
    struct pn_waiting_source *turn; /* whose turn is next; a ring */
    struct pn_waiting_source
        *spare; /* one, for the next that comes; or NULL */
    pn_waiting_entry *oldest;
    pn_waiting_entry *newest;
    uint64_t last_serial;
    size_t count;
    size_t bytes;
} pn_waiting;

/* All zeros is a valid empty one; this frees it and makes it one again. No
 * entry may be left. */
void pn_waiting_free(pn_waiting *waiting);

/* Add an entry behind those of its source; source, id, came and bytes are
 * set. PN_ENOMEM changes nothing. */
int pn_waiting_put(pn_waiting *waiting, pn_waiting_entry *entry);

/* Take the first entry of the source whose turn it is; NULL if none. */
pn_waiting_entry *pn_waiting_take(pn_waiting *waiting);

/* Take the ask id of source, wherever it stands; NULL if it does not. Of
 * several with one id, which no correct peer sends, only one is found. */
pn_waiting_entry *pn_waiting_take_ask(pn_waiting *waiting, uint64_t source,
                                      uint64_t id);

/* Take the entry that has waited longest; NULL if none. */
pn_waiting_entry *pn_waiting_take_oldest(pn_waiting *waiting);

/* The entry that has waited longest, borrowed, or NULL. */
static inline pn_waiting_entry *
pn_waiting_oldest(const pn_waiting *waiting)
{
    return waiting->oldest;
}

/* For tests: whether the invariants above hold. */
bool pn_waiting_check(const pn_waiting *waiting);

#endif
