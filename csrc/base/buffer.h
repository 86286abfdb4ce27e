/* A growable run of bytes: written at its end, consumed from its start
 * without moving what follows. One thread at a time.
 *   - start <= end <= capacity;
 *   - data is NULL exactly while capacity is 0. */
#ifndef PN_BASE_BUFFER_H
#define PN_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *data;
    size_t start;
    size_t end;
    size_t capacity;
} pn_buffer;

/* All zeros is a valid empty buffer; this frees the memory and makes it one
 * again. */
void pn_buffer_free(pn_buffer *buffer);

/* Make room for at least size bytes after end, moving the unread bytes to the
 * front or into a larger block: pointers to them end here. PN_ENOMEM leaves
 * the buffer as it was. */
int pn_buffer_reserve(pn_buffer *buffer, size_t size);

/* Copy size bytes, which do not lie in the buffer, to the end. PN_ENOMEM
 * leaves the buffer as it was. */
int pn_buffer_append(pn_buffer *buffer, const void *bytes, size_t size);

/* Drop size unread bytes, at most all of them. */
void pn_buffer_consume(pn_buffer *buffer, size_t size);

static inline size_t
pn_buffer_size(const pn_buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* The first unread byte; NULL while nothing was ever written. */
static inline uint8_t *
pn_buffer_bytes(const pn_buffer *buffer)
{
    return buffer->data == NULL ? NULL : buffer->data + buffer->start;
}

/* Where the next byte goes; valid after a reserve. */
static inline uint8_t *
pn_buffer_tail(const pn_buffer *buffer)
{
    return buffer->data + buffer->end;
}

#endif
