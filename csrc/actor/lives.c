#include "actor/lives.h"

#include "base/alloc.h"
#include "base/status.h"

void
pn_lives_free(pn_lives *lives)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&lives->entries, &cursor)) != NULL)
        pn_free(entry->value);
    pn_map_free(&lives->entries);
    pn_agenda_free(&lives->agenda);
    *lives = (pn_lives){0};
}

int
pn_lives_add(pn_lives *lives, uint64_t number, const pn_life_limits *limits,
             int64_t now)
{
    pn_lives_entry *entry = pn_alloc(sizeof *entry);
    if (entry == NULL)
        return PN_ENOMEM;
    if (pn_agenda_reserve(&lives->agenda, lives->entries.count + 1) < 0 ||
        pn_map_put(&lives->entries, number, entry) < 0) {
        pn_free(entry);
        return PN_ENOMEM;
    }
    entry->timed = PN_UNTIMED;
    entry->number = number;
    pn_life_init(&entry->life, limits, now);
    pn_lives_moved(lives, entry);
    return PN_OK;
}

void
pn_lives_remove(pn_lives *lives, uint64_t number)
{
    pn_lives_entry *entry = pn_map_take(&lives->entries, number);
    if (entry == NULL)
        return;
    pn_agenda_drop(&lives->agenda, &entry->timed);
    pn_free(entry);
}

pn_lives_entry *
pn_lives_get(const pn_lives *lives, uint64_t number)
{
    return pn_map_get(&lives->entries, number);
}

void
pn_lives_moved(pn_lives *lives, pn_lives_entry *entry)
{
    int64_t due = pn_life_due(&entry->life);
    if (due == INT64_MAX)
        pn_agenda_drop(&lives->agenda, &entry->timed);
    else if (entry->timed.place == PN_NOWHERE || entry->timed.due != due)
        pn_agenda_set(&lives->agenda, &entry->timed, due);
}

uint64_t
pn_lives_tick(pn_lives *lives, int64_t now, pn_life_actions *out)
{
    pn_lives_entry *entry = (pn_lives_entry *)pn_agenda_first(&lives->agenda);
    if (entry == NULL || entry->timed.due > now)
        return 0;
    pn_life_tick(&entry->life, now, out);
    pn_lives_moved(lives, entry);
    return entry->number;
}

int64_t
pn_lives_due(const pn_lives *lives)
{
    const pn_timed *first = pn_agenda_first(&lives->agenda);
    return first == NULL ? INT64_MAX : first->due;
}

bool
pn_lives_check(const pn_lives *lives)
{
    size_t cursor = 0, timed = 0;
    const pn_map_entry *found;
    while ((found = pn_map_next(&lives->entries, &cursor)) != NULL) {
        const pn_lives_entry *entry = found->value;
        int64_t due = pn_life_due(&entry->life);
        bool there = entry->timed.place != PN_NOWHERE;
        if (there != (due != INT64_MAX) ||
            (there && entry->timed.due != due) ||
            entry->number != found->key || !pn_life_check(&entry->life))
            return false;
        timed += there;
    }
    return timed == lives->agenda.count && pn_agenda_check(&lives->agenda) &&
           pn_map_check(&lives->entries);
}
