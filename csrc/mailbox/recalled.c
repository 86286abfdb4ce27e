#include "mailbox/recalled.h"

#include "base/alloc.h"
#include "base/status.h"

#define FIRST_CAPACITY 16

void
pn_recalled_free(pn_recalled *recalled)
{
    pn_map_free(&recalled->keys);
    pn_free(recalled->ring);
    *recalled = (pn_recalled){0};
}

static pn_recall *
entry_at(const pn_recalled *recalled, size_t index)
{
    size_t place = (recalled->first + index) & (recalled->capacity - 1);
    return &recalled->ring[place];
}

static void
forget_first(pn_recalled *recalled)
{
    (void)pn_map_take(&recalled->keys, entry_at(recalled, 0)->key);
    recalled->first = (recalled->first + 1) & (recalled->capacity - 1);
    recalled->count--;
}

static void
forget_old(pn_recalled *recalled, int64_t now)
{
    while (recalled->count > 0 &&
           now - entry_at(recalled, 0)->came > PN_RECALLED_NS)
        forget_first(recalled);
}

static int
grow(pn_recalled *recalled)
{
    size_t capacity =
        recalled->capacity == 0 ? FIRST_CAPACITY : 2 * recalled->capacity;
    pn_recall *ring = pn_alloc_zeroed(capacity, sizeof *ring);
    if (ring == NULL)
        return PN_ENOMEM;
    for (size_t i = 0; i < recalled->count; i++)
        ring[i] = *entry_at(recalled, i);
    pn_free(recalled->ring);
    recalled->ring = ring;
    recalled->capacity = capacity;
    recalled->first = 0;
    return PN_OK;
}

int
pn_recalled_add(pn_recalled *recalled, uint64_t key, int64_t now)
{
    if (pn_map_get(&recalled->keys, key) != NULL)
        return PN_OK;
    forget_old(recalled, now);
    if (recalled->count == PN_RECALLED_LIMIT)
        forget_first(recalled);
    int err = PN_OK;
    if (recalled->count == recalled->capacity)
        err = grow(recalled);
    if (err == PN_OK)
        err = pn_map_put(&recalled->keys, key, recalled);
    if (err < 0)
        return err;
    *entry_at(recalled, recalled->count++) = (pn_recall){key, now};
    return PN_OK;
}

bool
pn_recalled_take(pn_recalled *recalled, uint64_t key)
{
    return recalled->keys.count > 0 &&
           pn_map_take(&recalled->keys, key) != NULL;
}

bool
pn_recalled_check(const pn_recalled *recalled)
{
    size_t found = 0, cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&recalled->keys, &cursor)) != NULL) {
        size_t i = 0;
        while (i < recalled->count && entry_at(recalled, i)->key != entry->key)
            i++;
        found += i < recalled->count;
    }
    return found == recalled->keys.count &&
           recalled->count <= recalled->capacity;
}
