/* A payload that somebody else owns: bytes, and how to give them back. The
 * engine holds a pn_ref without knowing whose object stands behind it (the
 * binding puts a Python object there). Not thread-safe: a ref is released on
 * the thread on which its maker lives. */
#ifndef PN_BASE_REF_H
#define PN_BASE_REF_H

#include "base/alloc.h"
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *data; /* size readable bytes */
    size_t size;
    void *owner;                  /* handed to release */
    void (*release)(void *owner); /* NULL: nothing to give back */
} pn_ref;

/* Bytes that outlive the ref, such as a literal. */
static inline pn_ref
pn_ref_borrowed(const void *data, size_t size)
{
    return (pn_ref){.data = data, .size = size};
}

/* An aligned block of size bytes that the ref owns alone, to be filled: it may
 * be released on any thread. The block, or NULL without memory. */
static inline uint8_t *
pn_ref_block(pn_ref *out, size_t size)
{
    uint8_t *block = pn_alloc_aligned(size);
    if (block != NULL)
        *out = (pn_ref){block, size, block, pn_free};
    return block;
}

/* A copy of bytes, in a block. PN_OK or PN_ENOMEM. */
static inline int
pn_ref_copy(pn_ref *out, const void *bytes, size_t size)
{
    uint8_t *block = pn_ref_block(out, size);
    if (block == NULL)
        return PN_ENOMEM;
    if (size > 0)
        memcpy(block, bytes, size);
    return PN_OK;
}

/* Give the bytes back, once; the ref is empty afterwards, and already while
 * release runs, which may call into whoever holds the ref. */
static inline void
pn_ref_release(pn_ref *ref)
{
    pn_ref old = *ref;
    *ref = (pn_ref){0};
    if (old.release != NULL)
        old.release(old.owner);
}

#endif
