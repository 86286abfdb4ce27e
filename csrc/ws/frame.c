#include "ws/frame.h"

#include "base/status.h"

#include <string.h>

#define FINAL 0x80u
#define MASKED 0x80u
#define LENGTH_16 126u
#define LENGTH_64 127u

bool
pn_frame_opcode_is_known(unsigned opcode)
{
    return opcode <= PN_OP_BINARY ||
           (opcode >= PN_OP_CLOSE && opcode <= PN_OP_PONG);
}

bool
pn_frame_close_code_is_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static uint64_t
load_be(const uint8_t *buf, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | buf[i];
    return value;
}

static void
store_be(uint8_t *out, uint64_t value, size_t len)
{
    while (len > 0) {
        out[--len] = (uint8_t)value;
        value >>= 8;
    }
}

/* What the first byte alone proves. */
static bool
first_byte_is_right(uint8_t first)
{
    return (first & 0x70) == 0 && pn_frame_opcode_is_known(first & 0xfu) &&
           (!pn_frame_is_control(first & 0xf) || (first & FINAL) != 0);
}

/* The extended length of `size` bytes at buf. PN_EPROTO if a shorter form
 * would have done, or if the top bit is set. */
static int
decode_extended(uint64_t *out, const uint8_t *buf, size_t size)
{
    uint64_t length = load_be(buf, size);
    if (size == 2 ? length < LENGTH_16
                  : length <= UINT16_MAX || length > PN_FRAME_LENGTH_MAX)
        return PN_EPROTO;
    *out = length;
    return PN_OK;
}

int
pn_frame_decode(pn_frame *out, const uint8_t *buf, size_t len)
{
    if (len == 0)
        return PN_MORE;
    if (!first_byte_is_right(buf[0]))
        return PN_EPROTO;
    if (len == 1)
        return PN_MORE;

    uint8_t opcode = buf[0] & 0xf;
    uint64_t length = buf[1] & 0x7fu;
    if (pn_frame_is_control(opcode) && length > PN_FRAME_CONTROL_MAX)
        return PN_EPROTO;
    size_t extended = length < LENGTH_16 ? 0 : length == LENGTH_16 ? 2 : 8;
    bool masked = (buf[1] & MASKED) != 0;
    size_t size = 2 + extended + (masked ? 4 : 0);
    if (extended > 0) {
        if (len < 2 + extended)
            return PN_MORE;
        int err = decode_extended(&length, buf + 2, extended);
        if (err < 0)
            return err;
    }
    if (len < size)
        return PN_MORE;

    out->length = length;
    out->opcode = opcode;
    out->rsv = 0;
    out->header_size = (uint8_t)size;
    out->final = (buf[0] & FINAL) != 0;
    out->masked = masked;
    if (masked)
        memcpy(out->key, buf + size - 4, 4);
    else
        memset(out->key, 0, 4);
    return PN_OK;
}

int
pn_frame_check(const pn_frame *frame)
{
    if (!pn_frame_opcode_is_known(frame->opcode) || frame->rsv > 7 ||
        frame->length > PN_FRAME_LENGTH_MAX)
        return PN_EPROTO;
    if (pn_frame_is_control(frame->opcode) &&
        (!frame->final || frame->length > PN_FRAME_CONTROL_MAX))
        return PN_EPROTO;
    return PN_OK;
}

static size_t
extended_size(uint64_t length)
{
    return length < LENGTH_16 ? 0 : length <= UINT16_MAX ? 2 : 8;
}

size_t
pn_frame_header_size(const pn_frame *frame)
{
    return 2 + extended_size(frame->length) + (frame->masked ? 4 : 0);
}

size_t
pn_frame_encode_header(uint8_t *out, const pn_frame *frame)
{
    size_t extended = extended_size(frame->length);
    uint8_t shortest = extended == 0   ? (uint8_t)frame->length
                       : extended == 2 ? LENGTH_16
                                       : LENGTH_64;
    out[0] = (uint8_t)((frame->final ? FINAL : 0) | (unsigned)frame->rsv << 4 |
                       frame->opcode);
    out[1] = (uint8_t)((frame->masked ? MASKED : 0) | shortest);
    store_be(out + 2, frame->length, extended);
    if (frame->masked)
        memcpy(out + 2 + extended, frame->key, 4);
    return 2 + extended + (frame->masked ? 4 : 0);
}
