#include "base/map.h"

#include "base/alloc.h"
#include "base/status.h"

#define MIN_CAPACITY 8

/* The finalizer of MurmurHash3 (Austin Appleby, public domain constants):
 * every bit of the key reaches the low bits. */
static uint64_t
mix(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdu;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53u;
    key ^= key >> 33;
    return key;
}

static size_t
home_of(const pn_map *map, uint64_t key)
{
    return (size_t)mix(key) & (map->capacity - 1);
}

/* The entry of key, or the free one where it would go. */
static pn_map_entry *
find(const pn_map *map, uint64_t key)
{
    size_t i = home_of(map, key);
    while (map->entries[i].value != NULL && map->entries[i].key != key)
        i = (i + 1) & (map->capacity - 1);
    return &map->entries[i];
}

void
pn_map_free(pn_map *map)
{
    pn_free(map->entries);
    *map = (pn_map){0};
}

void *
pn_map_get(const pn_map *map, uint64_t key)
{
    return map->count == 0 ? NULL : find(map, key)->value;
}

static int
grow(pn_map *map)
{
    size_t capacity = map->capacity == 0 ? MIN_CAPACITY : map->capacity * 2;
    pn_map larger = {.capacity = capacity, .count = map->count};
    larger.entries = pn_alloc_zeroed(capacity, sizeof *larger.entries);
    if (larger.entries == NULL)
        return PN_ENOMEM;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].value != NULL)
            *find(&larger, map->entries[i].key) = map->entries[i];
    }
    pn_free(map->entries);
    *map = larger;
    return PN_OK;
}

int
pn_map_put(pn_map *map, uint64_t key, void *value)
{
    if (map->count * 4 >= map->capacity * 3 && pn_map_get(map, key) == NULL) {
        int err = grow(map);
        if (err < 0)
            return err;
    }
    pn_map_entry *entry = find(map, key);
    if (entry->value == NULL)
        map->count++;
    *entry = (pn_map_entry){.key = key, .value = value};
    return PN_OK;
}

/* Close the hole at i: move back what could not stand nearer its home. */
static void
shift_back(pn_map *map, size_t hole)
{
    size_t mask = map->capacity - 1;
    for (size_t i = (hole + 1) & mask; map->entries[i].value != NULL;
         i = (i + 1) & mask) {
        size_t home = home_of(map, map->entries[i].key);
        /* Distance from home decides, modulo the table's size. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->entries[hole] = map->entries[i];
            hole = i;
        }
    }
    map->entries[hole].value = NULL;
}

void *
pn_map_take(pn_map *map, uint64_t key)
{
    if (map->count == 0)
        return NULL;
    pn_map_entry *entry = find(map, key);
    void *value = entry->value;
    if (value == NULL)
        return NULL;
    map->count--;
    shift_back(map, (size_t)(entry - map->entries));
    return value;
}

const pn_map_entry *
pn_map_next(const pn_map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        const pn_map_entry *entry = &map->entries[(*cursor)++];
        if (entry->value != NULL)
            return entry;
    }
    return NULL;
}

bool
pn_map_check(const pn_map *map)
{
    size_t used = 0;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].value == NULL)
            continue;
        used++;
        if (find(map, map->entries[i].key) != &map->entries[i])
            return false;
    }
    return used == map->count && used * 4 <= map->capacity * 3 &&
           (map->capacity & (map->capacity - 1)) == 0;
}
