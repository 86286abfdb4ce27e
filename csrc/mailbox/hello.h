/* Hello: the first message on a link, both ways: who speaks which version.
 * Values in, bytes out, and back; no I/O. docs/protocol.md has the layout. */
#ifndef PN_MAILBOX_HELLO_H
#define PN_MAILBOX_HELLO_H

#include <stddef.h>
#include <stdint.h>

#define PN_WIRE_VERSION 1
#define PN_HELLO_SIZE 32

typedef struct {
    uint16_t wire;     /* PN_WIRE_VERSION of the speaker */
    uint16_t python;   /* major * 256 + minor */
    uint32_t features; /* bits; none are defined yet */
    char package[20];  /* version text, ended by a zero */
} pn_hello;

void pn_hello_encode(const pn_hello *hello, uint8_t out[PN_HELLO_SIZE]);

/* PN_EPROTO where the bytes are no hello. A longer one, of a later version,
 * is decoded as far as it is known. */
int pn_hello_decode(pn_hello *out, const uint8_t *bytes, size_t len);

/* Whether two speakers understand each other: the same wire version, and the
 * same Python, for functions that go by value are bytecode. PN_OK or
 * PN_EVERSION. */
int pn_hello_agree(const pn_hello *ours, const pn_hello *theirs);

#endif
