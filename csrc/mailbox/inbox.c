#include "mailbox/inbox.h"

#include "base/alloc.h"
#include "base/status.h"
#include "ws/frame.h"

#include <string.h>

/* A message whose frames are still coming. The texts of the envelope follow
 * the struct. */
typedef struct pn_assembly {
    struct pn_assembly *next;
    pn_envelope env;  /* offset: how much of the payload is there */
    uint8_t *payload; /* env.size bytes; NULL once somebody has taken it */
    char texts[];
} pn_assembly;

void
pn_inbox_init(pn_inbox *inbox, size_t message_limit)
{
    *inbox = (pn_inbox){0};
    pn_inbox_limit(inbox, message_limit);
}

void
pn_inbox_limit(pn_inbox *inbox, size_t message_limit)
{
    bool over = message_limit > PN_INBOX_LIMIT_MAX;
    inbox->message_limit = over ? PN_INBOX_LIMIT_MAX : message_limit;
}

static void
free_assembly(pn_assembly *assembly)
{
    pn_free(assembly->payload);
    pn_free(assembly);
}

static void
free_all(pn_assembly *assembly)
{
    while (assembly != NULL) {
        pn_assembly *next = assembly->next;
        free_assembly(assembly);
        assembly = next;
    }
}

void
pn_inbox_free(pn_inbox *inbox)
{
    free_all(inbox->unfinished);
    free_all(inbox->finished);
    pn_buffer_free(&inbox->bytes);
    pn_inbox_init(inbox, inbox->message_limit);
}

/* What was lent is taken back: the frame, and the finished message. */
static void
take_back(pn_inbox *inbox)
{
    pn_buffer_consume(&inbox->bytes, inbox->given);
    inbox->given = 0;
    free_all(inbox->finished);
    inbox->finished = NULL;
}

/* Links carry whole, unmasked, binary frames of bounded length only. */
static int
check_frame(const pn_frame *frame)
{
    if (!frame->final || frame->masked || frame->rsv != 0 ||
        frame->opcode != PN_OP_BINARY)
        return PN_EPROTO;
    return frame->length > PN_BODY_LIMIT ? PN_ETOOBIG : PN_OK;
}

int
pn_inbox_next(pn_inbox *inbox, pn_part *out)
{
    take_back(inbox);
    const uint8_t *raw = pn_buffer_bytes(&inbox->bytes);
    size_t available = pn_buffer_size(&inbox->bytes);
    pn_frame frame;
    if (available == 0)
        return PN_MORE;
    int err = pn_frame_decode(&frame, raw, available);
    if (err != PN_OK)
        return err;
    err = check_frame(&frame);
    if (err < 0)
        return err;
    size_t body = (size_t)frame.length;
    size_t whole = frame.header_size + body;
    if (available < whole)
        return PN_MORE;
    err = pn_envelope_decode(&out->env, raw + frame.header_size, body);
    if (err < 0)
        return err;
    size_t head = frame.header_size + pn_envelope_size(&out->env);
    out->payload = raw + head;
    out->size = whole - head;
    out->raw = raw;
    out->raw_size = whole;
    inbox->given = whole;
    return PN_OK;
}

/* Where the pointer to the message of this frame stands. */
static pn_assembly **
find_assembly(pn_inbox *inbox, const pn_envelope *env)
{
    pn_assembly **at = &inbox->unfinished;
    while (*at != NULL &&
           ((*at)->env.id != env->id || (*at)->env.source != env->source ||
            (*at)->env.target != env->target || (*at)->env.kind != env->kind))
        at = &(*at)->next;
    return at;
}

/* What an unfinished message costs in memory: payload, texts and struct. */
static size_t
weight(const pn_envelope *env)
{
    return sizeof(pn_assembly) + (size_t)env->size + pn_envelope_size(env) -
           PN_ENVELOPE_SIZE;
}

/* Take the message at *at out of the unfinished ones. */
static pn_assembly *
unlink_assembly(pn_inbox *inbox, pn_assembly **at)
{
    pn_assembly *message = *at;
    *at = message->next;
    inbox->held -= weight(&message->env);
    inbox->unfinished_count--;
    return message;
}

static pn_assembly *
new_assembly(const pn_envelope *env)
{
    size_t texts = pn_envelope_size(env) - PN_ENVELOPE_SIZE;
    pn_assembly *new = pn_alloc(sizeof *new + texts);
    if (new == NULL)
        return NULL;
    *new = (pn_assembly){
        .env = *env,
        .payload = pn_alloc_aligned((size_t)env->size),
    };
    if (new->payload == NULL) {
        pn_free(new);
        return NULL;
    }
    memcpy(new->texts, env->command, texts);
    new->env.command = new->texts;
    new->env.name = new->env.command + env->command_size;
    new->env.extension = (const uint8_t *)new->env.name + env->name_size;
    return new;
}

/* The first frame of a message: room for all of it. */
static int
begin_assembly(pn_inbox *inbox, const pn_envelope *env)
{
    if (env->size > inbox->message_limit ||
        inbox->unfinished_count == PN_INBOX_UNFINISHED_LIMIT)
        return PN_ETOOBIG;
    if (inbox->held + weight(env) > pn_inbox_held_limit(inbox))
        return PN_ETOOBIG;
    pn_assembly *new = new_assembly(env);
    if (new == NULL)
        return PN_ENOMEM;
    new->next = inbox->unfinished;
    inbox->unfinished = new;
    inbox->unfinished_count++;
    inbox->held += weight(env);
    return PN_OK;
}

/* Add the part's payload to its message, which moves to `finished` once it is
 * complete. */
static int
fill(pn_inbox *inbox, pn_assembly **at, const pn_part *part, pn_message *out)
{
    pn_assembly *message = *at;
    memcpy(message->payload + part->env.offset, part->payload, part->size);
    message->env.offset += part->size;
    if (message->env.offset < message->env.size)
        return PN_MORE;
    (void)unlink_assembly(inbox, at);
    message->env.offset = 0;
    message->next = inbox->finished;
    inbox->finished = message;
    *out = (pn_message){message->env, message->payload,
                        (size_t)message->env.size};
    return PN_OK;
}

/* A frame of a message in several. */
static int
join_chunk(pn_inbox *inbox, const pn_part *part, pn_message *out)
{
    pn_assembly **at = find_assembly(inbox, &part->env);
    if (*at == NULL && part->env.offset > 0)
        return PN_MORE; /* the rest of a message that was forgotten */
    if (*at != NULL && part->env.offset == 0)
        return PN_EPROTO;
    if (*at == NULL) {
        int err = begin_assembly(inbox, &part->env);
        if (err < 0)
            return err;
        at = &inbox->unfinished;
    }
    if ((*at)->env.size != part->env.size ||
        (*at)->env.offset != part->env.offset)
        return PN_EPROTO;
    return fill(inbox, at, part, out);
}

int
pn_inbox_join(pn_inbox *inbox, const pn_part *part, pn_message *out)
{
    if (part->size < part->env.size)
        return join_chunk(inbox, part, out);
    if (part->size > inbox->message_limit)
        return PN_ETOOBIG;
    *out = (pn_message){part->env, part->payload, part->size};
    return PN_OK;
}

bool
pn_inbox_take(pn_inbox *inbox, const pn_message *message, pn_ref *out)
{
    pn_assembly *whole = inbox->finished;
    if (whole == NULL || whole->payload != message->payload)
        return false;
    *out = (pn_ref){
        .data = whole->payload,
        .size = message->size,
        .owner = whole->payload,
        .release = pn_free,
    };
    whole->payload = NULL;
    return true;
}

void
pn_inbox_forget(pn_inbox *inbox, uint64_t source)
{
    pn_assembly **at = &inbox->unfinished;
    while (*at != NULL) {
        if ((*at)->env.source == source)
            free_assembly(unlink_assembly(inbox, at));
        else
            at = &(*at)->next;
    }
}

bool
pn_inbox_check(const pn_inbox *inbox)
{
    size_t held = 0, count = 0;
    for (const pn_assembly *m = inbox->unfinished; m != NULL; m = m->next) {
        if (m->env.offset == 0 || m->env.offset >= m->env.size)
            return false;
        held += weight(&m->env);
        count++;
    }
    return held == inbox->held && count == inbox->unfinished_count &&
           held <= pn_inbox_held_limit(inbox) &&
           inbox->given <= pn_buffer_size(&inbox->bytes);
}
