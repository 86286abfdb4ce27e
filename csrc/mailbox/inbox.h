/* Bytes of one link in, messages out. Loop thread only; no I/O.
 *   - bytes that next() has given out stay until the following next();
 *   - a message in several frames is allocated whole at its first one and
 *     filled in place; all those unfinished hold `held` bytes together. */
#ifndef PN_MAILBOX_INBOX_H
#define PN_MAILBOX_INBOX_H

#include "base/buffer.h"
#include "mailbox/envelope.h"

struct pn_assembly;

typedef struct {
    pn_buffer bytes;                /* received, not yet given out */
    size_t given;                   /* bytes of the frame given out last */
    struct pn_assembly *unfinished; /* newest first */
    struct pn_assembly *finished;   /* lent to the caller of join */
    size_t held;
    size_t message_limit; /* payload bytes of one message, at most */
} pn_inbox;

/* One frame: raw is all of it, payload what follows its envelope. */
typedef struct {
    pn_envelope env;
    const uint8_t *payload;
    size_t size;
    const uint8_t *raw;
    size_t raw_size;
} pn_part;

/* One whole message. */
typedef struct {
    pn_envelope env;
    const uint8_t *payload;
    size_t size;
} pn_message;

/* Unfinished messages hold at most this many times message_limit. */
#define PN_INBOX_HELD_FACTOR 4

void pn_inbox_init(pn_inbox *inbox, size_t message_limit);
void pn_inbox_free(pn_inbox *inbox);

/* The next frame, borrowed until the following call. PN_MORE: it has not
 * wholly come. PN_EPROTO, PN_ETOOBIG: the link must be closed. */
int pn_inbox_next(pn_inbox *inbox, pn_part *out);

/* Join a frame to its message. PN_OK: *out is complete, borrowed until the
 * next call of next, join or forget. PN_MORE: other frames are to come, or
 * the message's beginning was forgotten. PN_ETOOBIG: over the limit;
 * PN_EPROTO: a chunk out of order; PN_ENOMEM. */
int pn_inbox_join(pn_inbox *inbox, const pn_part *part, pn_message *out);

/* Drop the unfinished messages of a source that has ended. */
void pn_inbox_forget(pn_inbox *inbox, uint64_t source);

#endif
