/* The extension of an envelope: what only some messages say. Values in, bytes
 * out, and back; no allocation, no I/O. docs/protocol.md has the table.
 *
 * Fields one after the other: tag (1 byte), 0 (1 byte), size (2 bytes), then
 * size bytes. Numbers are little endian. A tag that is not known is skipped,
 * so that newer peers may say more; a known one comes at most once, and only
 * where it says something. */
#ifndef PN_MAILBOX_EXTENSION_H
#define PN_MAILBOX_EXTENSION_H

#include <stddef.h>
#include <stdint.h>

/* Actors of a chain of waiting, at most; of a longer one the last are sent.
 * So a received chain and one's own number behind it can be encoded. */
#define PN_CHAIN_LIMIT 16

/* Out-of-band buffers of one message, at most. */
#define PN_BUFFERS_LIMIT 64

/* Bytes of the caller's context variables and trace, at most. */
#define PN_BAGGAGE_LIMIT 2048

/* A plain function that is past its deadline, or that nobody wants any more,
 * costs its process. */
#define PN_OVERDUE_KILL 1

/* Arrays point to unaligned little-endian 64-bit numbers; read them by
 * pn_extension_number. Zero, or a count of zero, is: not said. Without segment
 * its two sizes mean nothing and are zero. */
typedef struct {
    int64_t deadline;    /* CLOCK_MONOTONIC, ns: later, no answer is wanted */
    uint64_t window;     /* of a stream: items that may come before a grant */
    uint64_t descriptor; /* serial of the descriptor that comes along */
    uint64_t segment;    /* where the payload lies instead: its id, */
    uint64_t segment_size; /* the size of the segment, */
    uint64_t segment_used; /* and how many of its bytes are payload */
    const uint8_t *chain;  /* actors that wait, the first caller first */
    size_t chain_count;
    const uint8_t *buffers; /* sizes of the payload's out-of-band parts */
    size_t buffers_count;
    const uint8_t *baggage; /* opaque */
    size_t baggage_size;
    uint64_t encoding; /* of the payload's values, if it is not the usual */
    uint64_t overdue;  /* PN_OVERDUE_KILL: what to do past the deadline */
} pn_extension;

/* Bytes of the encoded extension, at most PN_EXTENSION_LIMIT; 0 if nothing is
 * said. Buffers and baggage are within their limits here and in encode. */
size_t pn_extension_size(const pn_extension *ext);

/* Encode to out, which has room for pn_extension_size(ext) bytes. */
void pn_extension_encode(const pn_extension *ext, uint8_t *out);

/* Decode; *out points into bytes and is written only on PN_OK. PN_EPROTO: a
 * field that is cut short, that comes twice, of a size that cannot be, over
 * its limit, a zero where only another number says something, or more used
 * of a segment than there is. Nothing (size 0) decodes to all zeros. */
int pn_extension_decode(pn_extension *out, const uint8_t *bytes, size_t size);

/* Number index of an array of a decoded extension. */
uint64_t pn_extension_number(const uint8_t *array, size_t index);

/* Append number to an array of count numbers that has room; the new count.
 * For building what encode takes. */
size_t pn_extension_append(uint8_t *array, size_t count, uint64_t number);

#endif
