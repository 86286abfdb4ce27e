/* The window of a stream: how many items its source may send that its consumer
 * has not taken, in number and in bytes. Values only; loop thread only.
 *
 * Both ends count the same way: an item has the size of its payload. The
 * source spends credit item by item; the consumer says how many it has taken
 * once they are half the window in number or in bytes, so that the source,
 * which has stopped at the whole of one of them, never waits for ever. */
#ifndef PN_MAILBOX_WINDOW_H
#define PN_MAILBOX_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A window has at most so many items. */
#define PN_WINDOW_LIMIT 65536

/* From so many bytes on no further item is sent, whatever its size. */
#define PN_WINDOW_BYTES ((size_t)4 << 20)

/* The source's end.
 *   - count items have been sent and not granted again, at most `window`;
 *   - their sizes lie in a ring, in the order of sending;
 *   - bytes is their sum. */
typedef struct {
    size_t *sizes;
    size_t capacity;
    size_t first;
    size_t count;
    size_t bytes;
    size_t window;
} pn_credit;

/* Nothing sent yet. A window of 0 counts as 1, one over the limit as that. */
void pn_credit_init(pn_credit *credit, uint64_t window);
void pn_credit_free(pn_credit *credit);

/* Whether another item may be sent. */
static inline bool
pn_credit_left(const pn_credit *credit)
{
    return credit->count < credit->window && credit->bytes < PN_WINDOW_BYTES;
}

/* An item of this size is sent; there was credit for it. PN_ENOMEM changes
 * nothing. */
int pn_credit_spend(pn_credit *credit, size_t size);

/* So many items were taken; more than were sent count as all. */
void pn_credit_grant(pn_credit *credit, uint64_t items);

/* For tests: whether the invariants above hold. */
bool pn_credit_check(const pn_credit *credit);

/* The consumer's end: what it has taken and not said. */
typedef struct {
    size_t window;
    size_t items;
    size_t bytes;
} pn_taken;

/* As pn_credit_init. */
void pn_taken_init(pn_taken *taken, uint64_t window);

/* An item of this size was taken: how many to grant now, or 0 to wait. */
uint64_t pn_taken_add(pn_taken *taken, size_t size);

#endif
