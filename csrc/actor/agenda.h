/* What is due when: a binary heap of entries that stand in structs of their
 * owners, so that each can be moved or dropped in O(log n). Room is reserved
 * before, so nothing here fails but that. Time is an argument. One thread.
 *   - no entry is due before its parent, which stands at (place - 1) / 2;
 *   - an entry in the heap knows its place, one that is not has PN_NOWHERE. */
#ifndef PN_ACTOR_AGENDA_H
#define PN_ACTOR_AGENDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PN_NOWHERE SIZE_MAX

/* Begins as PN_UNTIMED. */
typedef struct {
    int64_t due; /* ns */
    size_t place;
} pn_timed;

#define PN_UNTIMED ((pn_timed){.place = PN_NOWHERE})

typedef struct {
    pn_timed **entries;
    size_t count;
    size_t capacity;
} pn_agenda;

/* All zeros is a valid empty agenda; this frees it and makes it one again. */
void pn_agenda_free(pn_agenda *agenda);

/* Room for so many entries in all; PN_ENOMEM changes nothing. */
int pn_agenda_reserve(pn_agenda *agenda, size_t count);

/* Add the entry, or move it if it is there. There is room for it. */
void pn_agenda_set(pn_agenda *agenda, pn_timed *entry, int64_t due);

/* Take it out, if it is there. */
void pn_agenda_drop(pn_agenda *agenda, pn_timed *entry);

/* The earliest entry, or NULL. */
static inline pn_timed *
pn_agenda_first(const pn_agenda *agenda)
{
    return agenda->count == 0 ? NULL : agenda->entries[0];
}

/* For tests: whether the invariants above hold. */
bool pn_agenda_check(const pn_agenda *agenda);

#endif
