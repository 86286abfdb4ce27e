#include "loop/timers.h"

#include "base/alloc.h"
#include "base/status.h"

#include <math.h>

#define MIN_CAPACITY 16

/* So many cancelled entries may always stay. */
#define SWEEP_MIN 100

void
pn_timers_free(pn_timers *timers)
{
    pn_free(timers->entries);
    *timers = (pn_timers){0};
}

static bool
is_before(const pn_timer *a, const pn_timer *b)
{
    return a->due != b->due ? a->due < b->due : a->number < b->number;
}

/* Put entry where the hole at i is, or above it. */
static void
sift_up(pn_timers *timers, size_t i, pn_timer entry)
{
    pn_timer *entries = timers->entries;
    while (i > 0 && is_before(&entry, &entries[(i - 1) / 2])) {
        entries[i] = entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    entries[i] = entry;
}

/* Put entry where the hole at i is, or below it. */
static void
sift_down(pn_timers *timers, size_t i, pn_timer entry)
{
    pn_timer *entries = timers->entries;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < timers->count &&
            is_before(&entries[child + 1], &entries[child]))
            child++;
        if (child >= timers->count || is_before(&entry, &entries[child]))
            break;
        entries[i] = entries[child];
        i = child;
    }
    entries[i] = entry;
}

/* As sift_down, for the last entry at the top: it nearly always belongs to
 * the bottom, so the hole goes there first. Half the comparisons. */
static void
sift_last(pn_timers *timers, pn_timer entry)
{
    pn_timer *entries = timers->entries;
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count &&
            is_before(&entries[child + 1], &entries[child]))
            child++;
        entries[i] = entries[child];
        i = child;
    }
    sift_up(timers, i, entry);
}

static int
grow(pn_timers *timers)
{
    size_t capacity =
        timers->capacity == 0 ? MIN_CAPACITY : timers->capacity * 2;
    void *larger =
        pn_realloc(timers->entries, capacity * sizeof *timers->entries);
    if (larger == NULL)
        return PN_ENOMEM;
    timers->entries = larger;
    timers->capacity = capacity;
    return PN_OK;
}

int
pn_timers_add(pn_timers *timers, int64_t due, void *item)
{
    if (timers->count == timers->capacity) {
        int err = grow(timers);
        if (err < 0)
            return err;
    }
    pn_timer entry = {.due = due, .number = timers->added++, .item = item};
    sift_up(timers, timers->count++, entry);
    return PN_OK;
}

void *
pn_timers_take(pn_timers *timers, int64_t now)
{
    if (timers->count == 0 || timers->entries[0].due > now)
        return NULL;
    void *item = timers->entries[0].item;
    timers->count--;
    if (timers->count > 0)
        sift_last(timers, timers->entries[timers->count]);
    return item;
}

bool
pn_timers_is_littered(const pn_timers *timers)
{
    return timers->cancelled > SWEEP_MIN &&
           timers->cancelled > timers->count / 2;
}

int
pn_timers_sweep(pn_timers *timers, bool (*is_cancelled)(void *item),
                void (*drop)(void *item))
{
    size_t count = timers->count, kept = 0, gone = 0;
    void **dropped = pn_alloc((count + 1) * sizeof *dropped);
    if (dropped == NULL)
        return PN_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (is_cancelled(timers->entries[i].item))
            dropped[gone++] = timers->entries[i].item;
        else
            timers->entries[kept++] = timers->entries[i];
    }
    timers->count = kept;
    timers->cancelled = 0;
    for (size_t i = kept / 2; i-- > 0;)
        sift_down(timers, i, timers->entries[i]);
    for (size_t i = 0; i < gone; i++)
        drop(dropped[i]);
    pn_free(dropped);
    return PN_OK;
}

/* 2^63 as a double: the first that int64_t cannot hold. */
#define TOO_FAR 9223372036854775808.0

int64_t
pn_timers_when(double seconds)
{
    double ns = ceil(seconds * 1e9);
    if (!(ns < TOO_FAR))
        return INT64_MAX;
    return ns < -TOO_FAR ? INT64_MIN : (int64_t)ns;
}

bool
pn_timers_check(const pn_timers *timers)
{
    for (size_t i = 1; i < timers->count; i++) {
        if (!is_before(&timers->entries[(i - 1) / 2], &timers->entries[i]))
            return false;
    }
    return timers->count <= timers->capacity &&
           timers->cancelled <= timers->count &&
           (timers->entries == NULL) == (timers->capacity == 0);
}
