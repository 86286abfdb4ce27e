/* An incremental reader of RFC 6455 frames: bytes in, whole frames out. It
 * checks masks, limits, the order of fragments, the UTF-8 of text and what
 * close frames carry. No I/O. The room for a body is asked of the caller once
 * its header is known, and the payload is unmasked straight into it as it
 * comes: no join, no second pass. One thread at a time. */
#ifndef PN_WS_READER_H
#define PN_WS_READER_H

#include "ws/frame.h"
#include "ws/utf8.h"

/* Room for the body of this frame: frame->length bytes, at least one; NULL
 * if there is none. It stays the caller's, who keeps it until the frame is
 * whole or the reader has failed. Called at most once a frame, not at all for
 * an empty one. It must not use the reader. */
typedef uint8_t *(*pn_reader_room)(void *context, const pn_frame *frame);

typedef struct {
    pn_reader_room room;
    void *context;        /* for room */
    uint64_t max_frame;   /* bytes of payload in one data frame */
    uint64_t max_message; /* and in all frames of one message */
    bool masked; /* whether frames must be masked (a server's case) or must
                  * be plain (a client's) */
} pn_reader_options;

typedef enum {
    PN_READER_HEADER, /* between frames, or amid a header */
    PN_READER_BODY,   /* amid a payload */
    PN_READER_FAILED, /* for ever */
} pn_reader_state;

/* Invariants:
 *   - in HEADER, head[0..head_size) are the header's bytes that have come:
 *     too few of them, and right so far;
 *   - in BODY, frame is the header, body its room, and filled < length bytes
 *     are there, unmasked;
 *   - in FAILED, status is negative and fault names the reason;
 *   - message is the opcode of the message whose last fragment is still to
 *     come, or 0; message_size counts the payload of its fragments so far,
 *     the present frame's included; utf8 is where its text stands. */
typedef struct {
    pn_reader_options options;
    pn_reader_state state;
    int status;
    const char *fault; /* an English phrase that lives for ever */
    pn_frame frame;
    uint8_t *body; /* of the frame last returned, too; NULL if empty */
    uint64_t filled;
    uint64_t message_size;
    uint8_t message;
    uint8_t head_size;
    uint8_t head[PN_FRAME_HEADER_MAX];
    pn_utf8 utf8;
} pn_reader;

void pn_reader_init(pn_reader *reader, const pn_reader_options *options);

/* Take bytes of the stream until a frame is whole; *used tells how many were
 * taken. Returns
 *   PN_OK    reader->frame and reader->body are a whole frame, which is the
 *            caller's; call again with the bytes behind *used;
 *   PN_MORE  all bytes were taken, and no frame is whole yet;
 *   PN_EPROTO, PN_ETOOBIG, PN_EUTF8 or PN_ENOMEM: the reader has failed, and
 *            says the same at each later call. Text fails at the first wrong
 *            byte, headers as soon as they cannot become right.
 * After PN_ETOOBIG reader->frame is the header that was refused. */
int pn_reader_feed(pn_reader *reader, const uint8_t *buf, size_t len,
                   size_t *used);

/* Fail the reader for a reason of the caller's; status is negative, fault
 * lives for ever. Returns status. */
int pn_reader_fail(pn_reader *reader, int status, const char *fault);

#endif
