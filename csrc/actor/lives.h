/* The lives of many actors, by number, and which of them is due next. One
 * thread.
 *   - each life whose due is not INT64_MAX is in the agenda, for that time. */
#ifndef PN_ACTOR_LIVES_H
#define PN_ACTOR_LIVES_H

#include "actor/agenda.h"
#include "actor/life.h"
#include "base/map.h"

typedef struct {
    pn_timed timed; /* first, so that the agenda's entry is the life */
    uint64_t number;
    pn_life life;
} pn_lives_entry;

typedef struct {
    pn_map entries; /* number -> pn_lives_entry, owned */
    pn_agenda agenda;
} pn_lives;

/* All zeros is a valid empty set; this frees it and makes it one again. */
void pn_lives_free(pn_lives *lives);

/* A new life begins, for a number that has none. PN_OK, or PN_ENOMEM and
 * nothing is changed. */
int pn_lives_add(pn_lives *lives, uint64_t number,
                 const pn_life_limits *limits, int64_t now);

/* Nothing if there is none. */
void pn_lives_remove(pn_lives *lives, uint64_t number);

/* The life, or NULL. To be followed by pn_lives_moved once an event has
 * changed it. */
pn_lives_entry *pn_lives_get(const pn_lives *lives, uint64_t number);
void pn_lives_moved(pn_lives *lives, pn_lives_entry *entry);

/* The next life that is due at now does what is to be done: its number and
 * actions, which may be none. 0 if none is due. */
uint64_t pn_lives_tick(pn_lives *lives, int64_t now, pn_life_actions *out);

/* INT64_MAX: never. */
int64_t pn_lives_due(const pn_lives *lives);

/* For tests: whether the invariants above hold. */
bool pn_lives_check(const pn_lives *lives);

#endif
