#include "mailbox/outbox.h"

#include "base/alloc.h"
#include "base/status.h"
#include "ws/frame.h"

/* Small messages lie in `bytes` as whole frames. A large message has its
 * texts in `bytes`, and env points to them. */
typedef struct pn_segment {
    struct pn_segment *next;
    pn_buffer bytes;
    size_t packed;   /* bytes ever packed, at most PN_CHUNK or one frame */
    size_t messages; /* that leave with this segment */
    bool large;
    pn_envelope env;
    pn_ref payload;
} pn_segment;

void
pn_outbox_init(pn_outbox *outbox, size_t message_limit, size_t byte_limit)
{
    *outbox = (pn_outbox){
        .message_limit = message_limit,
        .byte_limit = byte_limit,
    };
}

static void
free_segment(pn_segment *segment)
{
    if (segment == NULL)
        return;
    pn_buffer_free(&segment->bytes);
    pn_ref_release(&segment->payload);
    pn_free(segment);
}

void
pn_outbox_free(pn_outbox *outbox)
{
    pn_segment *segment = outbox->first;
    free_segment(outbox->spare);
    pn_buffer_free(&outbox->control);
    pn_buffer_free(&outbox->head);
    pn_outbox_init(outbox, outbox->message_limit, outbox->byte_limit);
    /* Releasing may call back into the outbox, which is empty by now. */
    while (segment != NULL) {
        pn_segment *next = segment->next;
        free_segment(segment);
        segment = next;
    }
}

bool
pn_outbox_full(const pn_outbox *outbox)
{
    return outbox->messages >= outbox->message_limit ||
           outbox->bytes >= outbox->byte_limit;
}

/* Room that a frame's header and envelope take, at most. */
static size_t
head_room(const pn_envelope *env)
{
    return PN_FRAME_HEADER_MAX + pn_envelope_size(env);
}

/* Append a frame header, and the envelope, for payload bytes that follow;
 * room is reserved. */
static void
append_head(pn_buffer *out, const pn_envelope *env, size_t payload)
{
    pn_frame frame = {
        .final = true,
        .opcode = PN_OP_BINARY,
        .length = pn_envelope_size(env) + payload,
    };
    out->end += pn_frame_encode_header(pn_buffer_tail(out), &frame);
    pn_envelope_encode(env, pn_buffer_tail(out));
    out->end += pn_envelope_size(env);
}

/* Append a whole message as one frame; room is reserved. */
static void
append_message(pn_buffer *out, const pn_envelope *env, const pn_ref *payload)
{
    append_head(out, env, payload->size);
    (void)pn_buffer_append(out, payload->data, payload->size);
}

static void
append_segment(pn_outbox *outbox, pn_segment *segment)
{
    if (outbox->last != NULL)
        outbox->last->next = segment;
    else
        outbox->first = segment;
    outbox->last = segment;
}

/* A segment with room for a frame of size bytes: the last one, or one that
 * joins the list. NULL if there is no memory, and nothing has changed. */
static pn_segment *
packed_segment(pn_outbox *outbox, size_t size)
{
    pn_segment *last = outbox->last;
    if (last != NULL && !last->large && last->packed + size <= PN_CHUNK)
        return pn_buffer_reserve(&last->bytes, size) < 0 ? NULL : last;
    if (outbox->spare == NULL)
        outbox->spare = pn_alloc_zeroed(1, sizeof *outbox->spare);
    pn_segment *segment = outbox->spare;
    if (segment == NULL || pn_buffer_reserve(&segment->bytes, size) < 0)
        return NULL;
    outbox->spare = NULL;
    append_segment(outbox, segment);
    return segment;
}

/* Count what was packed into segment since its buffer held before bytes. */
static void
count_packed(pn_outbox *outbox, pn_segment *segment, size_t before)
{
    size_t added = pn_buffer_size(&segment->bytes) - before;
    segment->packed += added;
    segment->messages++;
    outbox->bytes += added;
    outbox->messages++;
}

static int
put_control(pn_outbox *outbox, const pn_envelope *env, const pn_ref *payload)
{
    size_t size = head_room(env) + payload->size;
    if (pn_buffer_size(&outbox->control) > outbox->byte_limit)
        return PN_EFULL;
    int err = pn_buffer_reserve(&outbox->control, size);
    if (err == PN_OK)
        append_message(&outbox->control, env, payload);
    return err;
}

static int
put_packed(pn_outbox *outbox, const pn_envelope *env, const pn_ref *payload)
{
    size_t size = head_room(env) + payload->size;
    pn_segment *segment = packed_segment(outbox, size);
    if (segment == NULL)
        return PN_ENOMEM;
    size_t before = pn_buffer_size(&segment->bytes);
    append_message(&segment->bytes, env, payload);
    count_packed(outbox, segment, before);
    return PN_OK;
}

/* Copy the envelope's texts into the segment and point env there. */
static int
keep_texts(pn_segment *segment, const pn_envelope *env)
{
    pn_buffer *texts = &segment->bytes;
    size_t size = pn_envelope_size(env) - PN_ENVELOPE_SIZE;
    segment->env = *env;
    if (size == 0)
        return PN_OK;
    int err = pn_buffer_reserve(texts, size);
    if (err < 0)
        return err;
    (void)pn_buffer_append(texts, env->command, env->command_size);
    (void)pn_buffer_append(texts, env->name, env->name_size);
    (void)pn_buffer_append(texts, env->extension, env->extension_size);
    segment->env.command = (const char *)pn_buffer_bytes(texts);
    segment->env.name = segment->env.command + env->command_size;
    segment->env.extension =
        (const uint8_t *)segment->env.name + env->name_size;
    return PN_OK;
}

static int
put_large(pn_outbox *outbox, const pn_envelope *env, pn_ref *payload)
{
    pn_segment *segment = pn_alloc_zeroed(1, sizeof *segment);
    if (segment == NULL)
        return PN_ENOMEM;
    int err = keep_texts(segment, env);
    if (err < 0) {
        free_segment(segment);
        return err;
    }
    segment->large = true;
    segment->messages = 1;
    segment->payload = *payload;
    *payload = (pn_ref){0};
    append_segment(outbox, segment);
    outbox->messages++;
    outbox->bytes += segment->payload.size;
    return PN_OK;
}

/* Whether the peer would take such a message for a protocol error. */
static bool
over_limits(const pn_envelope *env)
{
    return env->command_size > PN_TEXT_LIMIT ||
           env->name_size > PN_TEXT_LIMIT ||
           env->extension_size > PN_EXTENSION_LIMIT ||
           (pn_kind_is_control(env->kind) && env->size > PN_CHUNK);
}

int
pn_outbox_put(pn_outbox *outbox, const pn_envelope *env, pn_ref *payload)
{
    pn_envelope whole = *env;
    whole.size = payload->size;
    whole.offset = 0;
    bool control = pn_kind_is_control(env->kind);
    if (over_limits(&whole))
        return PN_ETOOBIG;
    if (!control && payload->size > PN_PACKED_LIMIT)
        return put_large(outbox, &whole, payload);
    int err = control ? put_control(outbox, &whole, payload)
                      : put_packed(outbox, &whole, payload);
    if (err == PN_OK)
        pn_ref_release(payload); /* last: it may call back into the outbox */
    return err;
}

int
pn_outbox_put_frame(pn_outbox *outbox, const uint8_t *frame, size_t size)
{
    pn_segment *segment = packed_segment(outbox, size);
    if (segment == NULL)
        return PN_ENOMEM;
    size_t before = pn_buffer_size(&segment->bytes);
    (void)pn_buffer_append(&segment->bytes, frame, size); /* reserved */
    count_packed(outbox, segment, before);
    return PN_OK;
}

/* Take the first segment out; a packed one becomes the spare. */
static void
pop_segment(pn_outbox *outbox)
{
    pn_segment *segment = outbox->first;
    outbox->first = segment->next;
    if (outbox->first == NULL)
        outbox->last = NULL;
    outbox->messages -= segment->messages;
    if (segment->large || outbox->spare != NULL) {
        free_segment(segment);
        return;
    }
    pn_buffer bytes = segment->bytes;
    *segment = (pn_segment){.bytes = bytes};
    outbox->spare = segment;
}

/* Make the header of the first segment's next chunk. */
static int
begin_chunk(pn_outbox *outbox)
{
    pn_segment *segment = outbox->first;
    size_t left = segment->payload.size - (size_t)segment->env.offset;
    size_t size = left < PN_CHUNK ? left : PN_CHUNK;
    pn_envelope env = segment->env;
    if (env.offset > 0) { /* the name stays: a relay routes each chunk */
        env.command_size = env.extension_size = 0;
        env.extension = NULL;
    }
    int err = pn_buffer_reserve(&outbox->head, head_room(&env));
    if (err < 0)
        return err;
    append_head(&outbox->head, &env, size);
    outbox->chunk_end = (size_t)env.offset + size;
    return PN_OK;
}

/* At a frame's end: choose what leaves next. PN_MORE if nothing waits. */
static int
choose(pn_outbox *outbox)
{
    if (pn_buffer_size(&outbox->control) > 0) {
        outbox->writing = PN_WRITING_CONTROL;
        return PN_OK;
    }
    if (outbox->first == NULL)
        return PN_MORE;
    if (!outbox->first->large) {
        outbox->writing = PN_WRITING_PACKED;
        return PN_OK;
    }
    int err = begin_chunk(outbox);
    if (err == PN_OK)
        outbox->writing = PN_WRITING_CHUNK;
    return err;
}

static pn_slice
slice_of(const pn_buffer *buffer)
{
    return (pn_slice){pn_buffer_bytes(buffer), pn_buffer_size(buffer)};
}

int
pn_outbox_peek(pn_outbox *outbox, pn_slice slices[PN_OUTBOX_SLICES])
{
    if (outbox->writing == PN_WRITING_NOTHING) {
        int err = choose(outbox);
        if (err != PN_OK)
            return err == PN_MORE ? 0 : err;
    }
    if (outbox->writing == PN_WRITING_CONTROL) {
        slices[0] = slice_of(&outbox->control);
        return 1;
    }
    pn_segment *segment = outbox->first;
    if (outbox->writing == PN_WRITING_PACKED) {
        slices[0] = slice_of(&segment->bytes);
        return 1;
    }
    int count = 0;
    if (pn_buffer_size(&outbox->head) > 0)
        slices[count++] = slice_of(&outbox->head);
    size_t offset = (size_t)segment->env.offset;
    slices[count++] =
        (pn_slice){segment->payload.data + offset, outbox->chunk_end - offset};
    return count;
}

static void
sent_chunk(pn_outbox *outbox, size_t size)
{
    pn_segment *segment = outbox->first;
    size_t head = pn_buffer_size(&outbox->head);
    size_t of_head = size < head ? size : head;
    pn_buffer_consume(&outbox->head, of_head);
    segment->env.offset += size - of_head;
    outbox->bytes -= size - of_head;
    if (segment->env.offset < outbox->chunk_end)
        return;
    outbox->writing = PN_WRITING_NOTHING;
    if (segment->env.offset == segment->payload.size)
        pop_segment(outbox);
}

void
pn_outbox_sent(pn_outbox *outbox, size_t size)
{
    if (outbox->writing == PN_WRITING_CHUNK) {
        sent_chunk(outbox, size);
        return;
    }
    bool control = outbox->writing == PN_WRITING_CONTROL;
    pn_buffer *bytes = control ? &outbox->control : &outbox->first->bytes;
    pn_buffer_consume(bytes, size);
    if (!control)
        outbox->bytes -= size;
    if (pn_buffer_size(bytes) > 0)
        return;
    outbox->writing = PN_WRITING_NOTHING;
    if (!control)
        pop_segment(outbox);
}

bool
pn_outbox_check(const pn_outbox *outbox)
{
    size_t messages = 0, bytes = 0;
    const pn_segment *last = NULL;
    for (const pn_segment *s = outbox->first; s != NULL; s = s->next) {
        bool empty = !s->large && pn_buffer_size(&s->bytes) == 0;
        bool over = s->packed > PN_CHUNK && s->messages > 1;
        if (empty || over)
            return false;
        messages += s->messages;
        bytes += s->large ? s->payload.size - (size_t)s->env.offset
                          : pn_buffer_size(&s->bytes);
        last = s;
    }
    return last == outbox->last && messages == outbox->messages &&
           bytes == outbox->bytes;
}
