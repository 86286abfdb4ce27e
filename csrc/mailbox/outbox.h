/* Messages on their way to one link, in two lanes: control overtakes payload
 * at every frame's end, and is never behind more than one segment of it. Bytes
 * come out; what is done with them is the caller's. Loop thread only.
 *   - payload leaves in the order of its coming;
 *   - a frame that has begun to leave leaves whole before any other;
 *   - small messages lie packed in segments of at most PN_CHUNK bytes (or one
 *     frame), a large one is a segment of its own that leaves chunk by chunk
 *     and keeps its payload by reference;
 *   - no segment is empty; messages and bytes count payload segments that
 *     have not wholly left, control is not counted;
 *   - releasing a payload is the last thing that a function does, so it may
 *     call back into the outbox. */
#ifndef PN_MAILBOX_OUTBOX_H
#define PN_MAILBOX_OUTBOX_H

#include "base/buffer.h"
#include "base/ref.h"
#include "mailbox/envelope.h"

/* A payload up to this size is copied; above, it is kept by reference. */
#define PN_PACKED_LIMIT (8 * 1024)

struct pn_segment;

typedef enum {
    PN_WRITING_NOTHING, /* at a frame's end: any lane may go next */
    PN_WRITING_CONTROL,
    PN_WRITING_PACKED,
    PN_WRITING_CHUNK,
} pn_writing;

typedef struct {
    pn_buffer control;
    struct pn_segment *first;
    struct pn_segment *last;
    struct pn_segment *spare; /* one empty packed segment kept for reuse */
    pn_buffer head;           /* frame header and envelope of the chunk */
    size_t chunk_end;         /* payload offset at which the chunk ends */
    pn_writing writing;
    size_t messages;
    size_t bytes;
    size_t message_limit;
    size_t byte_limit;
} pn_outbox;

typedef struct {
    const uint8_t *data;
    size_t size;
} pn_slice;

#define PN_OUTBOX_SLICES 2

/* Empty; it is full from message_limit messages or byte_limit bytes on. */
void pn_outbox_init(pn_outbox *outbox, size_t message_limit,
                    size_t byte_limit);

/* Free everything, releasing payloads that did not leave. */
void pn_outbox_free(pn_outbox *outbox);

/* Whether a new ask or tell should be refused. Replies are not: they are
 * bounded by the asks, and refusing one would lose it. */
bool pn_outbox_full(const pn_outbox *outbox);

/* Queue a message of payload->size bytes; env's own size and offset do not
 * count. On PN_OK the payload belongs to the outbox, and *payload is empty; on
 * failure nothing has changed. The envelope's texts are copied. PN_ENOMEM, or
 * PN_ETOOBIG where a text is over its limit or the payload of a control
 * message over PN_CHUNK: the peer would close the link. PN_EFULL where more
 * control than byte_limit waits: the peer does not read. */
int pn_outbox_put(pn_outbox *outbox, const pn_envelope *env, pn_ref *payload);

/* Queue one encoded frame of somebody else's (a relay), copying it: size is
 * not 0, its kind not control. PN_ENOMEM changes nothing. */
int pn_outbox_put_frame(pn_outbox *outbox, const uint8_t *frame, size_t size);

/* The bytes that leave next, borrowed until the next call: returns how many
 * slices are filled, 0 when nothing waits, PN_ENOMEM (negative) when a chunk's
 * header found no memory. */
int pn_outbox_peek(pn_outbox *outbox, pn_slice slices[PN_OUTBOX_SLICES]);

/* The first size of the bytes that peek has just given have left. */
void pn_outbox_sent(pn_outbox *outbox, size_t size);

static inline bool
pn_outbox_empty(const pn_outbox *outbox)
{
    return outbox->first == NULL && pn_buffer_size(&outbox->control) == 0;
}

/* For tests: whether the invariants above hold. */
bool pn_outbox_check(const pn_outbox *outbox);

#endif
