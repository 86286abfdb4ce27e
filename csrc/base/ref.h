/* A payload that somebody else owns: bytes, and how to give them back. The
 * engine holds a pn_ref without knowing whose object stands behind it (the
 * binding puts a Python object there). Not thread-safe: a ref is released on
 * the thread on which its maker lives. */
#ifndef PN_BASE_REF_H
#define PN_BASE_REF_H

#include <stddef.h>
#include <stdint.h>

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
