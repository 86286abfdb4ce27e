/* Payloads of a mailbox's messages: packed and unpacked (mailbox_payload.c),
 * and carried by segments where both ends of a link are those who speak
 * (mailbox_segment.c). For the files of the type Mailbox. */
#ifndef PN_PYTHON_MAILBOX_PAYLOAD_H
#define PN_PYTHON_MAILBOX_PAYLOAD_H

#include "python/mailbox.h"
#include "python/parcel.h"

/* What the segments of one node hold together, at most, and how many there
 * are; the same of those that one link's far end lends. */
#define PN_SEGMENT_BYTES ((size_t)256 << 20)
#define PN_SEGMENT_COUNT 64

/* Room for the extension of any envelope. */
typedef struct {
    uint8_t bytes[PN_EXTENSION_LIMIT];
} pn_extension_bytes;

/* Have env carry what ext says, encoded in room. */
void pn_mailbox_extend(pn_envelope *env, const pn_extension *ext,
                       pn_extension_bytes *room);

/* Put a message on its way with what ext says and a parcel, which is consumed,
 * whatever the result; known as in pn_mailbox_put_near. env and ext are filled
 * in. 0, or -1 with an exception. */
int pn_mailbox_put_parcel(MailboxObject *self, pn_way way, pn_envelope *env,
                          pn_extension *ext, pn_parcel *parcel,
                          PyObject *known);

/* Put a value on its way, with what env says: by reference to who is near, if
 * it is immutable; else pickled. *size is what it counts for a stream's
 * window. 0, or -1 with an exception. */
int pn_mailbox_put_value(MailboxObject *self, pn_envelope *env,
                         PyObject *value, size_t *size);

/* The value of a message. New reference or NULL. */
PyObject *pn_mailbox_load(MailboxObject *self, const pn_mail *mail);

/* The payload of a message, for who keeps it: taken over, or copied. PN_OK or
 * PN_ENOMEM. */
int pn_mail_keep(const pn_mail *mail, pn_ref *out);

/* --- segments: mailbox_segment.c --- */

/* Set the limits of a new mailbox's segments. */
void pn_mailbox_init_segments(MailboxObject *self);

/* Copy a parcel into a segment of peer, which ext tells then, if it is large,
 * the message is for the peer's own node and a segment is free. Whether it
 * was; the caller puts the message next in any case. */
bool pn_mailbox_lend(MailboxObject *self, pn_peer *peer,
                     const pn_envelope *env, const pn_parcel *parcel,
                     pn_extension *ext);

/* The message for which it was lent could not be put. */
void pn_mailbox_take_back(pn_peer *peer, const pn_extension *ext);

/* The payload that a message of peer has left in a segment. PN_OK or
 * PN_EPROTO. */
int pn_mailbox_borrow(MailboxObject *self, pn_peer *peer,
                      const pn_extension *ext, pn_ref *out);

/* A SEGMENT has come. PN_OK, or a negative status: the link must be closed. */
int pn_mailbox_hear_segment(MailboxObject *self, pn_peer *peer,
                            const pn_mail *mail);

/* Give back what was dropped here, and let go of what nobody uses; all links
 * are flushed next. */
void pn_mailbox_tend_segments(MailboxObject *self);

/* The link ends: payloads that somebody holds stay. */
void pn_mailbox_drop_segments(MailboxObject *self, pn_peer *peer);

#endif
