/* The engine's allocator: malloc and its family, behind names that the C
 * tests replace with an allocator that fails on command. Thread-safe. */
#ifndef PN_BASE_ALLOC_H
#define PN_BASE_ALLOC_H

#include <stddef.h>

/* At least size bytes, uninitialised, or NULL. */
void *pn_alloc(size_t size);

/* Where blocks of pn_alloc_aligned begin: at a multiple of this, a cache line,
 * so that arrays in them are aligned for whatever reads them. */
#define PN_ALIGNMENT 64

/* As pn_alloc, aligned; for pn_free, not for pn_realloc. */
void *pn_alloc_aligned(size_t size);

/* count * size zeroed bytes, or NULL (also where the product overflows). */
void *pn_alloc_zeroed(size_t count, size_t size);

/* Grow or shrink; on NULL the old block is untouched. */
void *pn_realloc(void *block, size_t size);

/* NULL is allowed. */
void pn_free(void *block);

#endif
