/* RFC 6455 frame headers: bytes in, values out. No I/O, no allocation, no
 * state; every function may be called from any thread. */
#ifndef PN_WS_FRAME_H
#define PN_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 6455, section 5.2; the numbers between are reserved. */
enum {
    PN_OP_CONTINUATION = 0x0,
    PN_OP_TEXT = 0x1,
    PN_OP_BINARY = 0x2,
    PN_OP_CLOSE = 0x8,
    PN_OP_PING = 0x9,
    PN_OP_PONG = 0xa,
};

#define PN_FRAME_HEADER_MAX 14
#define PN_FRAME_CONTROL_MAX 125 /* payload of close, ping and pong */
#define PN_FRAME_LENGTH_MAX ((uint64_t)INT64_MAX)

/* A header. Zeroed, and then given an opcode, it is a valid empty frame that
 * is not final.
 *   - key is the masking key, meaningful only if masked;
 *   - header_size is how many bytes the header takes on the wire; set by
 *     pn_frame_decode, ignored by all others. */
typedef struct {
    uint64_t length; /* of the payload, in bytes */
    uint8_t opcode;
    uint8_t rsv; /* RSV1 is 4, RSV2 is 2, RSV3 is 1 */
    uint8_t header_size;
    bool final;
    bool masked;
    uint8_t key[4];
} pn_frame;

/* Decode the header at buf[0..len). Returns
 *   PN_OK      *out is the header; the payload starts at out->header_size;
 *   PN_MORE    it is cut short, and right so far;
 *   PN_EPROTO  reserved bits or opcode, a fragmented or long control frame,
 *              a length not in its shortest form or over 2^63 - 1: told as
 *              soon as the bytes at hand prove it.
 * *out is written only on PN_OK. */
int pn_frame_decode(pn_frame *out, const uint8_t *buf, size_t len);

/* PN_OK, or PN_EPROTO where the header breaks a rule of RFC 6455. Reserved
 * bits are allowed here: extensions may set them. */
int pn_frame_check(const pn_frame *frame);

/* How many bytes the header takes on the wire: 2 to 14. */
size_t pn_frame_header_size(const pn_frame *frame);

/* Write the header to out, which has room for PN_FRAME_HEADER_MAX bytes, and
 * return its size. The frame is one that pn_frame_check accepts. */
size_t pn_frame_encode_header(uint8_t *out, const pn_frame *frame);

/* Close, ping and pong. */
static inline bool
pn_frame_is_control(uint8_t opcode)
{
    return (opcode & 0x8) != 0;
}

/* Continuation, text, binary, close, ping and pong. */
bool pn_frame_opcode_is_known(unsigned opcode);

/* Whether a close frame may carry this code: 1000 to 1003, 1007 to 1014
 * (RFC 6455, section 7.4.1, and the IANA registry), 3000 to 4999. */
bool pn_frame_close_code_is_valid(unsigned code);

#endif
