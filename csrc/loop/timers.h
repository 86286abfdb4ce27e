/* What a loop has to call when: a binary heap of (time, item). Entries of one
 * time come in the order in which they were added. A cancelled entry stays
 * until it comes up or is swept. Owns none of the items. Time is an argument.
 * Loop thread only.
 *   - no entry is before its parent, which stands at (index - 1) / 2;
 *   - cancelled <= count. */
#ifndef PN_LOOP_TIMERS_H
#define PN_LOOP_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t due; /* monotonic ns */
    uint64_t number;
    void *item;
} pn_timer;

typedef struct {
    pn_timer *entries;
    size_t count;
    size_t capacity;
    size_t cancelled; /* of these are as good as gone */
    uint64_t added;   /* ever: the next one's number */
} pn_timers;

/* All zeros is a valid empty heap; this frees the memory and makes it one
 * again. */
void pn_timers_free(pn_timers *timers);

/* PN_ENOMEM changes nothing. */
int pn_timers_add(pn_timers *timers, int64_t due, void *item);

/* The earliest time; there is one. */
static inline int64_t
pn_timers_next(const pn_timers *timers)
{
    return timers->entries[0].due;
}

/* Take the earliest item if it is due at now; NULL if there is none. */
void *pn_timers_take(pn_timers *timers, int64_t now);

/* Whether what is cancelled is more than half, and much enough to pay for a
 * sweep. */
bool pn_timers_is_littered(const pn_timers *timers);

/* Drop every entry for which is_cancelled says so; drop is called for each of
 * them when the heap is whole again, and may change it. PN_ENOMEM changes
 * nothing. */
int pn_timers_sweep(pn_timers *timers, bool (*is_cancelled)(void *item),
                    void (*drop)(void *item));

/* Nanoseconds of a time in seconds, rounded up so that nothing is early;
 * times that are too far are INT64_MAX or INT64_MIN, as is what is no
 * number. */
int64_t pn_timers_when(double seconds);

/* For tests: whether the invariants above hold. */
bool pn_timers_check(const pn_timers *timers);

#endif
