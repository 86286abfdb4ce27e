#include "actor/agenda.h"

#include "base/alloc.h"
#include "base/status.h"

#define MIN_CAPACITY 16

void
pn_agenda_free(pn_agenda *agenda)
{
    pn_free(agenda->entries);
    *agenda = (pn_agenda){0};
}

int
pn_agenda_reserve(pn_agenda *agenda, size_t count)
{
    if (count <= agenda->capacity)
        return PN_OK;
    size_t capacity =
        agenda->capacity < MIN_CAPACITY ? MIN_CAPACITY : agenda->capacity * 2;
    if (capacity < count)
        capacity = count;
    void *larger =
        pn_realloc(agenda->entries, capacity * sizeof *agenda->entries);
    if (larger == NULL)
        return PN_ENOMEM;
    agenda->entries = larger;
    agenda->capacity = capacity;
    return PN_OK;
}

static void
put(pn_agenda *agenda, size_t place, pn_timed *entry)
{
    agenda->entries[place] = entry;
    entry->place = place;
}

/* Put entry where the hole at i is, or above it. */
static void
sift_up(pn_agenda *agenda, size_t i, pn_timed *entry)
{
    while (i > 0 && agenda->entries[(i - 1) / 2]->due > entry->due) {
        put(agenda, i, agenda->entries[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(agenda, i, entry);
}

/* Put entry where the hole at i is, or below it. */
static void
sift_down(pn_agenda *agenda, size_t i, pn_timed *entry)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < agenda->count &&
            agenda->entries[child + 1]->due < agenda->entries[child]->due)
            child++;
        if (child >= agenda->count ||
            agenda->entries[child]->due >= entry->due)
            break;
        put(agenda, i, agenda->entries[child]);
        i = child;
    }
    put(agenda, i, entry);
}

/* Its time, or what stands in its place, has changed. */
static void
settle(pn_agenda *agenda, size_t i, pn_timed *entry)
{
    if (i > 0 && agenda->entries[(i - 1) / 2]->due > entry->due)
        sift_up(agenda, i, entry);
    else
        sift_down(agenda, i, entry);
}

void
pn_agenda_set(pn_agenda *agenda, pn_timed *entry, int64_t due)
{
    entry->due = due;
    if (entry->place == PN_NOWHERE)
        sift_up(agenda, agenda->count++, entry);
    else
        settle(agenda, entry->place, entry);
}

void
pn_agenda_drop(pn_agenda *agenda, pn_timed *entry)
{
    size_t i = entry->place;
    if (i == PN_NOWHERE)
        return;
    entry->place = PN_NOWHERE;
    pn_timed *last = agenda->entries[--agenda->count];
    if (last != entry)
        settle(agenda, i, last);
}

bool
pn_agenda_check(const pn_agenda *agenda)
{
    for (size_t i = 0; i < agenda->count; i++) {
        const pn_timed *entry = agenda->entries[i];
        const pn_timed *parent = agenda->entries[i == 0 ? 0 : (i - 1) / 2];
        if (entry->due < parent->due || entry->place != i)
            return false;
    }
    return agenda->count <= agenda->capacity &&
           (agenda->entries == NULL) == (agenda->capacity == 0);
}
