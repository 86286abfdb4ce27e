#include "mailbox/extension.h"

#include "base/status.h"
#include "mailbox/envelope.h"

#include <endian.h>
#include <string.h>

/* Tags on the wire; never given another meaning. */
enum {
    DEADLINE = 1,
    CHAIN = 2,
    WINDOW = 3,
    DESCRIPTOR = 4,
    SEGMENT = 5,
    BUFFERS = 6,
    BAGGAGE = 7,
    ENCODING = 8,
    OVERDUE = 9,
    TAGS,
};

#define HEAD 4   /* tag, 0, size */
#define NUMBER 8 /* bytes of one */

_Static_assert(HEAD *(TAGS - 1) + 8 * NUMBER + PN_CHAIN_LIMIT * NUMBER +
                       PN_BUFFERS_LIMIT * NUMBER + PN_BAGGAGE_LIMIT <=
                   PN_EXTENSION_LIMIT,
               "the longest extension fits into an envelope");

uint64_t
pn_extension_number(const uint8_t *array, size_t index)
{
    uint64_t number;
    memcpy(&number, array + index * NUMBER, sizeof number);
    return le64toh(number);
}

size_t
pn_extension_append(uint8_t *array, size_t count, uint64_t number)
{
    number = htole64(number);
    memcpy(array + count * NUMBER, &number, sizeof number);
    return count + 1;
}

/* --- encoding --- */

static size_t
field_size(size_t size)
{
    return size == 0 ? 0 : HEAD + size;
}

/* How many actors of its chain an extension tells. */
static size_t
told(const pn_extension *ext)
{
    return ext->chain_count < PN_CHAIN_LIMIT ? ext->chain_count
                                             : PN_CHAIN_LIMIT;
}

size_t
pn_extension_size(const pn_extension *ext)
{
    return field_size(ext->deadline != 0 ? NUMBER : 0) +
           field_size(told(ext) * NUMBER) +
           field_size(ext->window != 0 ? NUMBER : 0) +
           field_size(ext->descriptor != 0 ? NUMBER : 0) +
           field_size(ext->segment != 0 ? 3 * NUMBER : 0) +
           field_size(ext->buffers_count * NUMBER) +
           field_size(ext->baggage_size) +
           field_size(ext->encoding != 0 ? NUMBER : 0) +
           field_size(ext->overdue != 0 ? NUMBER : 0);
}

/* A field, unless it is empty; where the next one goes. */
static uint8_t *
put(uint8_t *out, uint8_t tag, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return out;
    uint16_t wire_size = htole16((uint16_t)size);
    out[0] = tag;
    out[1] = 0;
    memcpy(out + 2, &wire_size, sizeof wire_size);
    memcpy(out + HEAD, bytes, size);
    return out + HEAD + size;
}

static uint8_t *
put_number(uint8_t *out, uint8_t tag, uint64_t number)
{
    uint8_t bytes[NUMBER];
    (void)pn_extension_append(bytes, 0, number);
    return put(out, tag, bytes, number != 0 ? sizeof bytes : 0);
}

static uint8_t *
put_chain(uint8_t *out, const pn_extension *ext)
{
    size_t count = told(ext);
    if (count == 0)
        return out;
    return put(out, CHAIN, ext->chain + (ext->chain_count - count) * NUMBER,
               count * NUMBER);
}

static uint8_t *
put_segment(uint8_t *out, const pn_extension *ext)
{
    uint8_t bytes[3 * NUMBER];
    (void)pn_extension_append(bytes, 0, ext->segment);
    (void)pn_extension_append(bytes, 1, ext->segment_size);
    (void)pn_extension_append(bytes, 2, ext->segment_used);
    return put(out, SEGMENT, bytes, ext->segment != 0 ? sizeof bytes : 0);
}

void
pn_extension_encode(const pn_extension *ext, uint8_t *out)
{
    out = put_number(out, DEADLINE, (uint64_t)ext->deadline);
    out = put_chain(out, ext);
    out = put_number(out, WINDOW, ext->window);
    out = put_number(out, DESCRIPTOR, ext->descriptor);
    out = put_segment(out, ext);
    out = put(out, BUFFERS, ext->buffers, ext->buffers_count * NUMBER);
    out = put(out, BAGGAGE, ext->baggage, ext->baggage_size);
    out = put_number(out, ENCODING, ext->encoding);
    (void)put_number(out, OVERDUE, ext->overdue);
}

/* --- decoding --- */

static int
take_number(uint64_t *number, const uint8_t *bytes, size_t size)
{
    if (size != NUMBER)
        return PN_EPROTO;
    *number = pn_extension_number(bytes, 0);
    return *number != 0 ? PN_OK : PN_EPROTO;
}

static int
take_array(const uint8_t **array, size_t *count, size_t limit,
           const uint8_t *bytes, size_t size)
{
    if (size == 0 || size % NUMBER != 0 || size / NUMBER > limit)
        return PN_EPROTO;
    *array = bytes;
    *count = size / NUMBER;
    return PN_OK;
}

static int
take_deadline(pn_extension *ext, const uint8_t *bytes, size_t size)
{
    uint64_t number = 0;
    int err = take_number(&number, bytes, size);
    ext->deadline = (int64_t)number;
    return err;
}

static int
take_segment(pn_extension *ext, const uint8_t *bytes, size_t size)
{
    if (size != 3 * NUMBER)
        return PN_EPROTO;
    ext->segment = pn_extension_number(bytes, 0);
    ext->segment_size = pn_extension_number(bytes, 1);
    ext->segment_used = pn_extension_number(bytes, 2);
    bool fits = ext->segment_used <= ext->segment_size;
    return ext->segment != 0 && fits ? PN_OK : PN_EPROTO;
}

static int
take_baggage(pn_extension *ext, const uint8_t *bytes, size_t size)
{
    if (size == 0 || size > PN_BAGGAGE_LIMIT)
        return PN_EPROTO;
    ext->baggage = bytes;
    ext->baggage_size = size;
    return PN_OK;
}

static int
take_field(pn_extension *ext, uint8_t tag, const uint8_t *bytes, size_t size)
{
    switch (tag) {
    case DEADLINE:
        return take_deadline(ext, bytes, size);
    case CHAIN:
        return take_array(&ext->chain, &ext->chain_count, PN_CHAIN_LIMIT,
                          bytes, size);
    case WINDOW:
        return take_number(&ext->window, bytes, size);
    case DESCRIPTOR:
        return take_number(&ext->descriptor, bytes, size);
    case SEGMENT:
        return take_segment(ext, bytes, size);
    case BUFFERS:
        return take_array(&ext->buffers, &ext->buffers_count, PN_BUFFERS_LIMIT,
                          bytes, size);
    case BAGGAGE:
        return take_baggage(ext, bytes, size);
    case ENCODING:
        return take_number(&ext->encoding, bytes, size);
    case OVERDUE:
        return take_number(&ext->overdue, bytes, size);
    default:
        return PN_OK; /* of a later version */
    }
}

int
pn_extension_decode(pn_extension *out, const uint8_t *bytes, size_t size)
{
    pn_extension ext = {0};
    bool seen[TAGS] = {false};
    while (size > 0) {
        uint16_t wire_size;
        if (size < HEAD)
            return PN_EPROTO;
        memcpy(&wire_size, bytes + 2, sizeof wire_size);
        size_t len = le16toh(wire_size);
        uint8_t tag = bytes[0];
        bool known = tag >= DEADLINE && tag < TAGS;
        if (bytes[1] != 0 || len > size - HEAD || (known && seen[tag]))
            return PN_EPROTO;
        if (take_field(&ext, tag, bytes + HEAD, len) < 0)
            return PN_EPROTO;
        if (known)
            seen[tag] = true;
        bytes += HEAD + len;
        size -= HEAD + len;
    }
    *out = ext;
    return PN_OK;
}
