/* Oracle: what decodes lies within the input, within the limits, and encodes
 * to bytes, no more than there were, that decode to the same; an extension
 * made of the input decodes to what was encoded. */
#include "base/status.h"
#include "mailbox/envelope.h"
#include "mailbox/extension.h"

#undef NDEBUG /* the oracle speaks in every build */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_same_bytes(const uint8_t *a, const uint8_t *b, size_t size)
{
    assert(size == 0 || memcmp(a, b, size) == 0);
}

static void
check_same(const pn_extension *a, const pn_extension *b)
{
    assert(a->deadline == b->deadline);
    assert(a->window == b->window);
    assert(a->descriptor == b->descriptor);
    assert(a->encoding == b->encoding);
    assert(a->overdue == b->overdue);
    assert(a->segment == b->segment);
    assert(a->segment_size == b->segment_size);
    assert(a->segment_used == b->segment_used);
    assert(a->chain_count == b->chain_count);
    assert(a->buffers_count == b->buffers_count);
    assert(a->baggage_size == b->baggage_size);
    check_same_bytes(a->chain, b->chain, a->chain_count * 8);
    check_same_bytes(a->buffers, b->buffers, a->buffers_count * 8);
    check_same_bytes(a->baggage, b->baggage, a->baggage_size);
}

/* Encode, decode, compare; the encoded size. The block is as long as what is
 * in it, so that a write or read beyond its end shows. */
static size_t
check_round_trip(const pn_extension *ext)
{
    pn_extension back;
    size_t size = pn_extension_size(ext);
    assert(size <= PN_EXTENSION_LIMIT);
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    assert(bytes != NULL);
    pn_extension_encode(ext, bytes);
    assert(pn_extension_decode(&back, bytes, size) == PN_OK);
    check_same(ext, &back);
    free(bytes);
    return size;
}

static void
check_within(const uint8_t *array, size_t len, const uint8_t *data,
             size_t size)
{
    assert(len == 0 || (array >= data && array + len <= data + size));
}

static void
check_decoded(const pn_extension *ext, const uint8_t *data, size_t size)
{
    assert(ext->chain_count <= PN_CHAIN_LIMIT);
    assert(ext->buffers_count <= PN_BUFFERS_LIMIT);
    assert(ext->baggage_size <= PN_BAGGAGE_LIMIT);
    assert(ext->segment_used <= ext->segment_size);
    check_within(ext->chain, ext->chain_count * 8, data, size);
    check_within(ext->buffers, ext->buffers_count * 8, data, size);
    check_within(ext->baggage, ext->baggage_size, data, size);
    assert(check_round_trip(ext) <= size);
}

/* The next bytes of the input as a number; 0 at its end. */
static uint64_t
next(const uint8_t **data, size_t *size)
{
    uint64_t number = 0;
    size_t len = *size < sizeof number ? *size : sizeof number;
    memcpy(&number, *data, len);
    *data += len;
    *size -= len;
    return number;
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What is said, in eight numbers; the rest are arrays and baggage. */
static void
check_made(const uint8_t *data, size_t size)
{
    pn_extension ext = {
        .deadline = (int64_t)next(&data, &size),
        .window = next(&data, &size),
        .descriptor = next(&data, &size),
        .segment = next(&data, &size),
    };
    if (ext.segment != 0) {
        ext.segment_size = next(&data, &size);
        ext.segment_used = ext.segment_size & next(&data, &size);
    }
    ext.encoding = next(&data, &size);
    ext.overdue = next(&data, &size);
    ext.chain = ext.buffers = ext.baggage = data;
    ext.chain_count = least(size / 8, PN_CHAIN_LIMIT);
    ext.buffers_count = least(size / 16, PN_BUFFERS_LIMIT);
    ext.baggage_size = least(size, PN_BAGGAGE_LIMIT);
    (void)check_round_trip(&ext);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pn_extension ext = {.window = 4711};
    int err = pn_extension_decode(&ext, data, size);
    if (err == PN_OK)
        check_decoded(&ext, data, size);
    else
        assert(err == PN_EPROTO && ext.window == 4711);
    check_made(data, size);
    return 0;
}
