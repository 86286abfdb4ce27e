/* Waiting awake: a loop that has just been busy looks for the next event for
 * some tens of microseconds before it sleeps, because waking a sleeping
 * process costs about as much. It is polite about it:
 *   - at most usable processors - 1 of those who share a page spin at once;
 *     a slot is held until a time, so that one killed while spinning gives
 *     it back by the clock;
 *   - spinning in vain halves the next attempt, down to none at all, and
 *     takes at most 5 % of the time; a wait that turns out to have been short
 *     brings it back.
 * The page may be shared by processes; a pn_spin belongs to one thread. */
#ifndef PN_SYS_SPIN_H
#define PN_SYS_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define PN_SPIN_SLOTS 64

/* Zeroed memory that all who count together share. */
typedef struct {
    _Atomic int64_t held_until[PN_SPIN_SLOTS]; /* monotonic ns; past: free */
} pn_spin_page;

typedef struct {
    pn_spin_page *page; /* borrowed */
    int fd;             /* an epoll descriptor, borrowed */
    int processors;     /* usable ones, by affinity and limit */
    int limit;          /* never count on more processors than this */
    int64_t longest;    /* ns of one attempt, at most */
    int64_t next;       /* ns of the next attempt; 0: sleep at once */
    int64_t credit;     /* ns that may be spent in vain */
    int64_t credited_at;
    int64_t counted_at; /* when the processors were counted */
    int64_t slept_at;   /* when the loop was last about to sleep */
} pn_spin;

/* limit is the most processors that may be used (a quota, say). longest 0
 * switches spinning off. */
void pn_spin_init(pn_spin *spin, pn_spin_page *page, int fd, int limit,
                  int64_t longest);

/* Before a wait of at most timeout ns (negative: for ever): true if the
 * descriptor has become ready, so that there is nothing to wait for; false:
 * go to sleep. */
bool pn_spin_wait(pn_spin *spin, int64_t timeout);

/* After the sleep that followed a false. */
void pn_spin_woke(pn_spin *spin);

#endif
