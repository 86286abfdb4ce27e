#include "mailbox/deadlines.h"

#include "base/alloc.h"
#include "base/status.h"

#define MIN_CAPACITY 16

/* So few settled entries may always stay. */
#define SWEEP_MIN 64

void
pn_deadlines_free(pn_deadlines *heap)
{
    pn_free(heap->entries);
    *heap = (pn_deadlines){0};
}

/* Put entry where the hole at i is, or above it. */
static void
sift_up(pn_deadlines *heap, size_t i, pn_deadline entry)
{
    while (i > 0 && heap->entries[(i - 1) / 2].due > entry.due) {
        heap->entries[i] = heap->entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap->entries[i] = entry;
}

/* Put entry where the hole at i is, or below it. */
static void
sift_down(pn_deadlines *heap, size_t i, pn_deadline entry)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < heap->count &&
            heap->entries[child + 1].due < heap->entries[child].due)
            child++;
        if (child >= heap->count || heap->entries[child].due >= entry.due)
            break;
        heap->entries[i] = heap->entries[child];
        i = child;
    }
    heap->entries[i] = entry;
}

static int
grow(pn_deadlines *heap)
{
    size_t capacity = heap->capacity == 0 ? MIN_CAPACITY : heap->capacity * 2;
    void *larger = pn_realloc(heap->entries, capacity * sizeof *heap->entries);
    if (larger == NULL)
        return PN_ENOMEM;
    heap->entries = larger;
    heap->capacity = capacity;
    return PN_OK;
}

int
pn_deadlines_add(pn_deadlines *heap, int64_t due, uint64_t key, uint64_t owner)
{
    if (heap->count == heap->capacity) {
        int err = grow(heap);
        if (err < 0)
            return err;
    }
    pn_deadline entry = {.due = due < 1 ? 1 : due, .key = key, .owner = owner};
    sift_up(heap, heap->count++, entry);
    return PN_OK;
}

int64_t
pn_deadlines_next(const pn_deadlines *heap)
{
    return heap->count == 0 ? 0 : heap->entries[0].due;
}

bool
pn_deadlines_take(pn_deadlines *heap, int64_t now, pn_deadline *out)
{
    if (heap->count == 0 || heap->entries[0].due > now)
        return false;
    *out = heap->entries[0];
    heap->count--;
    if (heap->count > 0)
        sift_down(heap, 0, heap->entries[heap->count]);
    return true;
}

/* What is dropped is more than what stays, so each drop pays for looking at
 * two entries at most. */
void
pn_deadlines_sweep(pn_deadlines *heap, size_t live,
                   bool (*is_settled)(void *arg, const pn_deadline *),
                   void *arg)
{
    if (heap->count <= SWEEP_MIN || (heap->count - SWEEP_MIN) / 2 <= live)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < heap->count; i++) {
        if (!is_settled(arg, &heap->entries[i]))
            heap->entries[kept++] = heap->entries[i];
    }
    heap->count = kept;
    for (size_t i = kept / 2; i-- > 0;)
        sift_down(heap, i, heap->entries[i]);
}

bool
pn_deadlines_check(const pn_deadlines *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        const pn_deadline *parent = &heap->entries[i == 0 ? 0 : (i - 1) / 2];
        if (heap->entries[i].due < parent->due || heap->entries[i].due < 1)
            return false;
    }
    return heap->count <= heap->capacity &&
           (heap->entries == NULL) == (heap->capacity == 0);
}
