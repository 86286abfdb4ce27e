/* Deadlines: what is due when. A binary heap of (time, key) that never
 * forgets by itself: an entry whose matter is settled is left in it and
 * skipped by its owner when it comes up, or swept. Time is an argument. Loop
 * thread only.
 *   - no entry is due before its parent. */
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

/* All zeros is a valid empty heap; this frees it. */
void pn_deadlines_free(pn_deadlines *heap);

/* PN_ENOMEM changes nothing. */
int pn_deadlines_add(pn_deadlines *heap, int64_t due, uint64_t key,
                     uint64_t owner);

/* The earliest time, or 0 if there is none. */
int64_t pn_deadlines_next(const pn_deadlines *heap);

/* Take the earliest entry if it is due at now; false if there is none. */
bool pn_deadlines_take(pn_deadlines *heap, int64_t now, pn_deadline *out);

/* Drop the entries for which is_settled says so, once these are likely to be
 * many: the caller asks after adding; costs constant time on average. */
void pn_deadlines_sweep(pn_deadlines *heap, size_t live,
                        bool (*is_settled)(void *arg, const pn_deadline *),
                        void *arg);

/* For tests: whether the invariant above holds. */
bool pn_deadlines_check(const pn_deadlines *heap);

#endif
