/* The envelope: the fixed header of a message inside a frame. Values in,
 * bytes out, and back; no allocation, no I/O. docs/protocol.md has the table.
 *
 * A frame on a link is unmasked, binary and final. Its body, one after the
 * other: envelope (48 bytes, little endian), command, name, extension,
 * payload.
 *
 * A message of more than PN_CHUNK payload bytes is several such frames, all
 * with the same kind, source, target, id, size and name, the first with offset
 * 0, the later ones with their offset and neither command nor extension. */
#ifndef PN_MAILBOX_ENVELOPE_H
#define PN_MAILBOX_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PN_ENVELOPE_SIZE 48
#define PN_CHUNK (32 * 1024) /* payload bytes of one frame, at most */
#define PN_TEXT_LIMIT 1024   /* bytes of command, and of name, at most */
#define PN_EXTENSION_LIMIT 4096

/* The longest frame body that a correct peer sends. */
#define PN_BODY_LIMIT                                                         \
    (PN_ENVELOPE_SIZE + 2 * PN_TEXT_LIMIT + PN_EXTENSION_LIMIT + PN_CHUNK)

/* Kinds up to PN_KIND_LAST_CONTROL are control: they overtake payload and
 * never touch pickle. */
typedef enum {
    PN_HELLO = 1,    /* first on every link, both ways: versions */
    PN_NOTIFY = 2,   /* heartbeat; the first one is the handshake */
    PN_STOP = 3,     /* end gracefully */
    PN_BOUND = 4,    /* ask `id`, sent to a name, went to actor `source` */
    PN_PEER = 5,     /* who actor `source` is, ahead of its first message */
    PN_CANCEL = 6,   /* the asker of `id` wants no answer any more */
    PN_PROGRESS = 7, /* how far ask `id` has come */
    PN_CREDIT = 8,   /* actor `source` takes no more messages, or does again */
    PN_GRANT = 9,    /* more items of stream `id` may come */
    PN_LINK = 10,    /* a descriptor: the direct link to node `id` */
    PN_SEGMENT = 11, /* a shared segment is given back to its owner */
    PN_FOLLOW = 12,  /* who sends it wants to know where role `id` is */
    PN_ROLE = 13,    /* where role `id` of `source`'s supervisors is now */
    PN_DOOM = 14,    /* who asked `id` has gone: end what still works for it */
    PN_KIND_LAST_CONTROL = 15,
    PN_ASK = 16,     /* command with a reply */
    PN_TELL = 17,    /* command without */
    PN_REPLY = 18,   /* result of ask `id` */
    PN_ERROR = 19,   /* failure of ask `id`; `command` holds its condition */
    PN_SPEC = 20,    /* what a new process needs to become its actor */
    PN_DEFINE = 21,  /* definitions of commands, ahead of their use */
    PN_LOG = 22,     /* a log record on its way to the arbiter */
    PN_DOWN = 23,    /* actor `id` has ended, behind all that it sent */
    PN_ITEM = 24,    /* one item of stream `id` */
    PN_SWITCH = 25,  /* what `source`'s node says next comes by direct link */
    PN_FAILURE = 26, /* what ended `source`'s constructor, ahead of DOWN */
    PN_WATCH = 27,   /* whoever sends it waits for the end of an actor */
    PN_ENDED = 28,   /* what watch `id` waits for has come */
    PN_KIND_LAST = 28,
} pn_kind;

/* An actor's number: the node that it lives in (one loop's mailbox) in the
 * low bits, its index in that node above; index 0 is the node's own actor. */
#define PN_NODE_BITS 36

static inline uint64_t
pn_node_of(uint64_t number)
{
    return number & (((uint64_t)1 << PN_NODE_BITS) - 1);
}

typedef struct {
    uint8_t kind;
    bool named; /* the target is `name`; the arbiter resolves it */
    uint16_t command_size;
    uint16_t name_size;
    uint16_t extension_size;
    uint64_t source;
    uint64_t target;
    uint64_t id;
    uint64_t size;   /* payload bytes of the whole message */
    uint64_t offset; /* of this frame's payload in it */
    const char *command;
    const char *name;
    const uint8_t *extension; /* see extension.h */
} pn_envelope;

static inline bool
pn_kind_is_control(uint8_t kind)
{
    return kind <= PN_KIND_LAST_CONTROL;
}

/* Whether actors say it to each other, be it relayed or not. */
static inline bool
pn_kind_is_between_actors(uint8_t kind)
{
    switch (kind) {
    case PN_ASK:
    case PN_TELL:
    case PN_REPLY:
    case PN_ERROR:
    case PN_ITEM:
    case PN_DEFINE:
    case PN_CANCEL:
    case PN_PROGRESS:
    case PN_CREDIT:
    case PN_GRANT:
    case PN_FOLLOW:
    case PN_ROLE:
        return true;
    default:
        return false;
    }
}

/* Whether decode takes it. */
static inline bool
pn_kind_is_known(uint8_t kind)
{
    return (kind >= PN_HELLO && kind <= PN_DOOM) ||
           (kind >= PN_ASK && kind <= PN_KIND_LAST);
}

/* Bytes of the encoded envelope with its texts. */
static inline size_t
pn_envelope_size(const pn_envelope *env)
{
    return PN_ENVELOPE_SIZE + (size_t)env->command_size + env->name_size +
           env->extension_size;
}

/* Encode to out, which has room for pn_envelope_size(env) bytes. */
void pn_envelope_encode(const pn_envelope *env, uint8_t *out);

/* Decode the body of one frame. On PN_OK *out points into body for its texts,
 * and body + pn_envelope_size(out) up to the end is the frame's payload.
 * PN_EPROTO: unknown kind or flag, a text over its limit, a payload that is
 * longer than a chunk or reaches beyond the message's size, a chunk out of
 * place. *out is written only on PN_OK. */
int pn_envelope_decode(pn_envelope *out, const uint8_t *body, size_t len);

typedef enum { PN_OOM_NO, PN_OOM_YES, PN_OOM_UNKNOWN } pn_oom;

/* The end of an actor, as PN_DOWN tells it: PN_DOWN_SIZE bytes, then the ids
 * of those asks of the receiver's that had begun, 8 bytes each, if they are
 * known, then three texts, one after the other. */
typedef struct {
    int32_t exit_code;    /* PN_NO_EXIT_CODE if it had none */
    int32_t signal;       /* 0 if none ended it */
    bool core;            /* whether the kernel dumped one */
    pn_oom oom;           /* whether it ended for want of memory */
    bool known;           /* which asks had begun */
    uint16_t begun_count; /* at most PN_DOWN_BEGUN; 0 if that is not known */
    uint32_t reason_size;
    uint32_t output_size;
    size_t traceback_size;
    const uint8_t *begun; /* their ids, little endian */
    const char *reason;
    const char *output; /* the last of its standard error */
    const char *traceback;
} pn_down;

#define PN_DOWN_SIZE 20
#define PN_DOWN_BEGUN 1024
#define PN_NO_EXIT_CODE INT32_MIN

/* Encode the fixed part; the caller appends the ids and the texts. */
void pn_down_encode(const pn_down *down, uint8_t out[PN_DOWN_SIZE]);

/* PN_EPROTO if len is too short for what it begins with, or if a field says
 * what it cannot; *out is written only on PN_OK, and points into bytes. */
int pn_down_decode(pn_down *out, const uint8_t *bytes, size_t len);

#endif
