/* Deadlines: what is due when. A binary heap of (time, key) that never
 * forgets by itself: an entry whose matter is settled is left in it and
 * skipped by its owner when it comes up, or swept. Time is an argument. Loop
 * thread only.
 *   - no entry is due before its parent, which stands at (index - 1) / 2;
 *   - every time is above 0. */
#ifndef PN_MAILBOX_DEADLINES_H
#define PN_MAILBOX_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t due;  /* monotonic ns */
    uint64_t key; /* what the owner knows it by */
    uint64_t owner;
} pn_deadline;

typedef struct {
    pn_deadline *entries;
    size_t count;
    size_t capacity;
} pn_deadlines;

/* All zeros is a valid empty heap; this frees it and makes it one again. */
void pn_deadlines_free(pn_deadlines *heap);

/* A time before 1 counts as 1: it has passed. PN_ENOMEM changes nothing. */
int pn_deadlines_add(pn_deadlines *heap, int64_t due, uint64_t key,
                     uint64_t owner);

/* The earliest time, or 0 if there is none. */
int64_t pn_deadlines_next(const pn_deadlines *heap);

/* Take the earliest entry if it is due at now; false if there is none. Those
 * of the same time come in no order. */
bool pn_deadlines_take(pn_deadlines *heap, int64_t now, pn_deadline *out);

/* Drop the entries for which is_settled says so, if they must be more than
 * half of all; live is how many others there can be at most. To be called
 * after adding; costs constant time on average. is_settled leaves the heap
 * alone. */
void pn_deadlines_sweep(pn_deadlines *heap, size_t live,
                        bool (*is_settled)(void *arg, const pn_deadline *),
                        void *arg);

/* For tests: whether the invariants above hold. */
bool pn_deadlines_check(const pn_deadlines *heap);

#endif
