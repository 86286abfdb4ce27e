#include "mailbox/window.h"

#include "base/alloc.h"
#include "base/status.h"

#define MIN_CAPACITY 16

static size_t
clamp(uint64_t window)
{
    if (window == 0)
        return 1;
    return window < PN_WINDOW_LIMIT ? (size_t)window : PN_WINDOW_LIMIT;
}

/* --- the source's end --- */

void
pn_credit_init(pn_credit *credit, uint64_t window)
{
    *credit = (pn_credit){.window = clamp(window)};
}

void
pn_credit_free(pn_credit *credit)
{
    pn_free(credit->sizes);
    *credit = (pn_credit){.window = credit->window};
}

/* Twice the places, with what lies there put in line. */
static int
grow(pn_credit *credit)
{
    size_t capacity =
        credit->capacity == 0 ? MIN_CAPACITY : 2 * credit->capacity;
    size_t *sizes = pn_alloc(capacity * sizeof *sizes);
    if (sizes == NULL)
        return PN_ENOMEM;
    for (size_t i = 0; i < credit->count; i++)
        sizes[i] = credit->sizes[(credit->first + i) & (credit->capacity - 1)];
    pn_free(credit->sizes);
    credit->sizes = sizes;
    credit->capacity = capacity;
    credit->first = 0;
    return PN_OK;
}

int
pn_credit_spend(pn_credit *credit, size_t size)
{
    if (credit->count == credit->capacity && grow(credit) < 0)
        return PN_ENOMEM;
    size_t place = (credit->first + credit->count) & (credit->capacity - 1);
    credit->sizes[place] = size;
    credit->count++;
    credit->bytes += size;
    return PN_OK;
}

void
pn_credit_grant(pn_credit *credit, uint64_t items)
{
    for (; items > 0 && credit->count > 0; items--) {
        credit->bytes -= credit->sizes[credit->first];
        credit->first = (credit->first + 1) & (credit->capacity - 1);
        credit->count--;
    }
}

bool
pn_credit_check(const pn_credit *credit)
{
    size_t bytes = 0;
    if (credit->count > credit->capacity || credit->count > credit->window)
        return false;
    for (size_t i = 0; i < credit->count; i++)
        bytes += credit->sizes[(credit->first + i) & (credit->capacity - 1)];
    return bytes == credit->bytes && credit->window > 0 &&
           credit->window <= PN_WINDOW_LIMIT;
}

/* --- the consumer's end --- */

void
pn_taken_init(pn_taken *taken, uint64_t window)
{
    *taken = (pn_taken){.window = clamp(window)};
}

uint64_t
pn_taken_add(pn_taken *taken, size_t size)
{
    taken->items++;
    taken->bytes += size;
    if (2 * taken->items < taken->window && taken->bytes < PN_WINDOW_BYTES / 2)
        return 0;
    uint64_t items = taken->items;
    taken->items = taken->bytes = 0;
    return items;
}
