/* Bytes of one link in, messages out. Loop thread only; no I/O.
 *   - bytes that next() has given out stay until the following next(), or
 *     until bytes are received, whichever comes first;
 *   - a message in several frames is allocated whole at its first one and
 *     filled in place; all those unfinished hold `held` bytes together, texts
 *     and bookkeeping included, so that a peer cannot make us hold more;
 *   - of an unfinished message some bytes are there and some are not. */
#ifndef PN_MAILBOX_INBOX_H
#define PN_MAILBOX_INBOX_H

#include "base/buffer.h"
#include "base/ref.h"
#include "mailbox/envelope.h"

struct pn_assembly;

typedef struct {
    pn_buffer bytes;                /* received, not yet given out */
    size_t given;                   /* bytes of the frame given out last */
    struct pn_assembly *unfinished; /* newest first */
    struct pn_assembly *finished;   /* lent to the caller of join */
    size_t unfinished_count;
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

/* Unfinished messages hold at most this many times message_limit (with a
 * frame's length added to it), and are at most so many: one for each process
 * whose messages are relayed over the link. */
#define PN_INBOX_HELD_FACTOR 4
#define PN_INBOX_UNFINISHED_LIMIT 4096

/* A higher message_limit counts as this one. */
#define PN_INBOX_LIMIT_MAX (SIZE_MAX / 4 / PN_INBOX_HELD_FACTOR)

static inline size_t
pn_inbox_held_limit(const pn_inbox *inbox)
{
    return PN_INBOX_HELD_FACTOR * (inbox->message_limit + PN_BODY_LIMIT);
}

void pn_inbox_init(pn_inbox *inbox, size_t message_limit);

/* Replace the limit; messages that have begun to come may go on. */
void pn_inbox_limit(pn_inbox *inbox, size_t message_limit);
void pn_inbox_free(pn_inbox *inbox);

/* The next frame, borrowed until the following call, and only until then if
 * nothing is received meanwhile. PN_MORE: it has not wholly come. PN_EPROTO,
 * PN_ETOOBIG: the link must be closed; asked again, the answer is the same. */
int pn_inbox_next(pn_inbox *inbox, pn_part *out);

/* Join a frame to its message. PN_OK: *out is complete, borrowed until the
 * next call of next, join or forget. PN_MORE: other frames are to come, or
 * the message's beginning was forgotten. PN_ETOOBIG (over a limit) and
 * PN_ENOMEM drop the message alone: its later frames count as forgotten.
 * PN_EPROTO: a chunk out of order. */
int pn_inbox_join(pn_inbox *inbox, const pn_part *part, pn_message *out);

/* Take over the payload of a message that join has just given: writable,
 * aligned (base/alloc.h), released on any thread; message points into it as
 * before. False for a message of one frame: that stays borrowed. */
bool pn_inbox_take(pn_inbox *inbox, const pn_message *message, pn_ref *out);

/* Drop the unfinished messages of a source that has ended. */
void pn_inbox_forget(pn_inbox *inbox, uint64_t source);

/* For tests: whether the invariants above hold. */
bool pn_inbox_check(const pn_inbox *inbox);

#endif
