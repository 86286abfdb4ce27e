/* A hash map from 64-bit numbers to pointers: open addressing with linear
 * probing and deletion by shifting back, so there are no tombstones. Numbers
 * are mixed first; they may be counters. One thread at a time.
 *   - capacity is 0 or a power of two, at most three quarters of it in use;
 *   - an entry whose value is NULL is free, so NULL is never stored;
 *   - between an entry's home slot and its place no slot is free. */
#ifndef PN_BASE_MAP_H
#define PN_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t key;
    void *value;
} pn_map_entry;

typedef struct {
    pn_map_entry *entries;
    size_t capacity;
    size_t count;
} pn_map;

/* All zeros is a valid empty map; this frees the table (not the values). */
void pn_map_free(pn_map *map);

/* The value, or NULL. */
void *pn_map_get(const pn_map *map, uint64_t key);

/* Add or replace; value is not NULL. PN_ENOMEM leaves the map as it was;
 * replacing takes no memory. */
int pn_map_put(pn_map *map, uint64_t key, void *value);

/* Remove and return the value; NULL if there is none. */
void *pn_map_take(pn_map *map, uint64_t key);

/* Walk: start with *cursor = 0; NULL at the end. The map must not change
 * between calls. */
const pn_map_entry *pn_map_next(const pn_map *map, size_t *cursor);

/* For tests: whether the invariants above hold. */
bool pn_map_check(const pn_map *map);

#endif
