/* Oracle: feeding bytes one at a time, or in pieces, changes nothing: the same
 * frames and messages come in the same order and end in the same status. Each
 * frame encodes back to its bytes, and no more is held than is allowed. */
#include "base/status.h"
#include "mailbox/inbox.h"
#include "ws/frame.h"

#undef NDEBUG /* the oracle speaks in every build */
#include <assert.h>
#include <string.h>

#define MESSAGE_LIMIT 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, as a hash (FNV-1a), and how it ended. */
typedef struct {
    uint64_t hash;
    size_t frames;
    size_t messages;
    int status;
} transcript;

static void
note(transcript *t, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++)
        t->hash = (t->hash ^ byte[i]) * 0x100000001b3u;
}

static void
note_number(transcript *t, uint64_t number)
{
    note(t, &number, sizeof number);
}

static void
check_frame(const pn_part *part)
{
    static uint8_t again[PN_FRAME_HEADER_MAX + PN_BODY_LIMIT];
    size_t head = pn_envelope_size(&part->env);
    pn_frame frame = {
        .final = true,
        .opcode = PN_OP_BINARY,
        .length = head + part->size,
    };
    size_t size = pn_frame_encode_header(again, &frame);
    pn_envelope_encode(&part->env, again + size);
    size += head;
    assert(part->payload == part->raw + size);
    assert(part->raw_size == size + part->size);
    assert(memcmp(again, part->raw, size) == 0);
}

static void
note_message(transcript *t, const pn_message *message)
{
    const pn_envelope *env = &message->env;
    assert(message->size == env->size && env->offset == 0);
    assert(message->size <= MESSAGE_LIMIT);
    note_number(t, env->kind);
    note_number(t, env->id);
    note_number(t, env->source);
    note(t, env->command, env->command_size);
    note(t, env->name, env->name_size);
    note(t, env->extension, env->extension_size);
    note(t, message->payload, message->size);
    t->messages++;
}

/* Work off what is whole. The end of actor `id` comes as PN_DOWN. */
static int
work_off(pn_inbox *inbox, transcript *t)
{
    pn_part part;
    pn_message message;
    int err;
    while ((err = pn_inbox_next(inbox, &part)) == PN_OK) {
        check_frame(&part);
        t->frames++;
        if (part.env.kind == PN_DOWN)
            pn_inbox_forget(inbox, part.env.id);
        err = pn_inbox_join(inbox, &part, &message);
        assert(pn_inbox_check(inbox));
        note_number(t, (uint64_t)err);
        if (err == PN_OK)
            note_message(t, &message);
        else if (err == PN_EPROTO)
            return err;
        else
            assert(err == PN_MORE || err == PN_ETOOBIG);
    }
    return err;
}

static transcript
receive_in_pieces(const uint8_t *data, size_t size, size_t piece)
{
    transcript t = {.hash = 0xcbf29ce484222325u, .status = PN_MORE};
    pn_inbox inbox;
    pn_inbox_init(&inbox, MESSAGE_LIMIT);
    while (size > 0 && t.status == PN_MORE) {
        size_t now = piece < size ? piece : size;
        if (pn_buffer_append(&inbox.bytes, data, now) < 0)
            break;
        t.status = work_off(&inbox, &t);
        data += now;
        size -= now;
    }
    pn_inbox_free(&inbox);
    return t;
}

static void
check_same(const transcript *a, const transcript *b)
{
    assert(a->frames == b->frames && a->messages == b->messages);
    assert(a->status == b->status && a->hash == b->hash);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    transcript whole = receive_in_pieces(data, size, SIZE_MAX);
    transcript bytes = receive_in_pieces(data, size, 1);
    check_same(&whole, &bytes);
    for (size_t piece = 3; piece < size; piece *= 5) {
        transcript pieces = receive_in_pieces(data, size, piece);
        check_same(&whole, &pieces);
    }
    return 0;
}
