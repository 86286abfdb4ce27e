#include "base/buffer.h"

#include "base/alloc.h"
#include "base/status.h"

#include <string.h>

#define MIN_CAPACITY 256

void
pn_buffer_free(pn_buffer *buffer)
{
    pn_free(buffer->data);
    *buffer = (pn_buffer){0};
}

static void
move_to_front(pn_buffer *buffer)
{
    size_t size = pn_buffer_size(buffer);
    if (buffer->start > 0 && size > 0)
        memmove(buffer->data, buffer->data + buffer->start, size);
    buffer->start = 0;
    buffer->end = size;
}

int
pn_buffer_reserve(pn_buffer *buffer, size_t size)
{
    if (size <= buffer->capacity - buffer->end)
        return PN_OK;
    size_t used = pn_buffer_size(buffer);
    /* Moving is worth it only where the hole is as large as what moves. */
    if (size <= buffer->capacity - used && buffer->start >= used) {
        move_to_front(buffer);
        return PN_OK;
    }
    if (size > SIZE_MAX / 2 - used)
        return PN_ENOMEM;
    size_t capacity = buffer->capacity * 2;
    if (capacity < used + size)
        capacity = used + size;
    if (capacity < MIN_CAPACITY)
        capacity = MIN_CAPACITY;
    uint8_t *data = pn_alloc(capacity);
    if (data == NULL)
        return PN_ENOMEM;
    if (used > 0)
        memcpy(data, pn_buffer_bytes(buffer), used);
    pn_free(buffer->data);
    *buffer = (pn_buffer){.data = data, .end = used, .capacity = capacity};
    return PN_OK;
}

int
pn_buffer_append(pn_buffer *buffer, const void *bytes, size_t size)
{
    int err = pn_buffer_reserve(buffer, size);
    if (err < 0)
        return err;
    if (size > 0)
        memcpy(pn_buffer_tail(buffer), bytes, size);
    buffer->end += size;
    return PN_OK;
}

void
pn_buffer_consume(pn_buffer *buffer, size_t size)
{
    if (size < pn_buffer_size(buffer)) {
        buffer->start += size;
        return;
    }
    buffer->start = 0;
    buffer->end = 0;
}
