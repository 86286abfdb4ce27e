#include "mailbox/envelope.h"

#include "base/status.h"

#include <endian.h>
#include <string.h>

#define FLAG_NAMED 0x01

/* The encoded header. Little endian; every field lies at its own alignment,
 * so the struct has no holes. */
typedef struct {
    uint8_t kind;
    uint8_t flags;
    uint16_t command_size;
    uint16_t name_size;
    uint16_t extension_size;
    uint64_t source;
    uint64_t target;
    uint64_t id;
    uint64_t size;
    uint64_t offset;
} wire_envelope;

_Static_assert(sizeof(wire_envelope) == PN_ENVELOPE_SIZE, "no holes");

static uint8_t *
put(uint8_t *out, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(out, bytes, size);
    return out + size;
}

void
pn_envelope_encode(const pn_envelope *env, uint8_t *out)
{
    wire_envelope wire = {
        .kind = env->kind,
        .flags = env->named ? FLAG_NAMED : 0,
        .command_size = htole16(env->command_size),
        .name_size = htole16(env->name_size),
        .extension_size = htole16(env->extension_size),
        .source = htole64(env->source),
        .target = htole64(env->target),
        .id = htole64(env->id),
        .size = htole64(env->size),
        .offset = htole64(env->offset),
    };
    out = put(out, &wire, sizeof wire);
    out = put(out, env->command, env->command_size);
    out = put(out, env->name, env->name_size);
    (void)put(out, env->extension, env->extension_size);
}

/* Whether payload bytes at offset are a chunk of a message of size. */
static bool
chunk_fits(const pn_envelope *env, size_t payload)
{
    if (payload > PN_CHUNK || env->offset > env->size ||
        payload > env->size - env->offset)
        return false;
    if (pn_kind_is_control(env->kind))
        return payload == env->size; /* control is never chunked */
    if (payload == 0)
        return env->size == 0;
    return env->offset == 0 ||
           (env->command_size == 0 && env->extension_size == 0);
}

int
pn_envelope_decode(pn_envelope *out, const uint8_t *body, size_t len)
{
    wire_envelope wire;
    if (len < sizeof wire)
        return PN_EPROTO;
    memcpy(&wire, body, sizeof wire);
    pn_envelope env = {
        .kind = wire.kind,
        .named = (wire.flags & FLAG_NAMED) != 0,
        .command_size = le16toh(wire.command_size),
        .name_size = le16toh(wire.name_size),
        .extension_size = le16toh(wire.extension_size),
        .source = le64toh(wire.source),
        .target = le64toh(wire.target),
        .id = le64toh(wire.id),
        .size = le64toh(wire.size),
        .offset = le64toh(wire.offset),
    };
    if (!pn_kind_is_known(env.kind) || (wire.flags & ~FLAG_NAMED) != 0 ||
        env.command_size > PN_TEXT_LIMIT || env.name_size > PN_TEXT_LIMIT ||
        env.extension_size > PN_EXTENSION_LIMIT)
        return PN_EPROTO;
    size_t head = pn_envelope_size(&env);
    if (head > len || !chunk_fits(&env, len - head))
        return PN_EPROTO;
    env.command = (const char *)body + PN_ENVELOPE_SIZE;
    env.name = env.command + env.command_size;
    env.extension = (const uint8_t *)env.name + env.name_size;
    *out = env;
    return PN_OK;
}

/* The fixed part of an end, little endian. */
typedef struct {
    uint32_t exit_code;
    uint32_t signal;
    uint8_t core;
    uint8_t oom;
    uint16_t begun; /* one more than there are; 0: not known */
    uint32_t reason_size;
    uint32_t output_size;
} wire_down;

_Static_assert(sizeof(wire_down) == PN_DOWN_SIZE, "no padding");

void
pn_down_encode(const pn_down *down, uint8_t out[PN_DOWN_SIZE])
{
    wire_down wire = {
        .exit_code = htole32((uint32_t)down->exit_code),
        .signal = htole32((uint32_t)down->signal),
        .core = down->core,
        .oom = (uint8_t)down->oom,
        .begun = htole16(down->known ? (uint16_t)(down->begun_count + 1) : 0),
        .reason_size = htole32(down->reason_size),
        .output_size = htole32(down->output_size),
    };
    memcpy(out, &wire, sizeof wire);
}

int
pn_down_decode(pn_down *out, const uint8_t *bytes, size_t len)
{
    wire_down wire;
    if (len < sizeof wire)
        return PN_EPROTO;
    memcpy(&wire, bytes, sizeof wire);
    uint32_t reason = le32toh(wire.reason_size);
    uint32_t output = le32toh(wire.output_size);
    uint16_t begun = le16toh(wire.begun);
    uint16_t count = begun == 0 ? 0 : (uint16_t)(begun - 1);
    size_t ids = (size_t)count * sizeof(uint64_t);
    size_t texts = len - sizeof wire;
    if (count > PN_DOWN_BEGUN || ids > texts)
        return PN_EPROTO;
    texts -= ids;
    if (reason > texts || output > texts - reason || wire.core > 1 ||
        wire.oom > PN_OOM_UNKNOWN)
        return PN_EPROTO;
    const char *text = (const char *)bytes + sizeof wire + ids;
    *out = (pn_down){
        .exit_code = (int32_t)le32toh(wire.exit_code),
        .signal = (int32_t)le32toh(wire.signal),
        .core = wire.core == 1,
        .oom = (pn_oom)wire.oom,
        .known = begun != 0,
        .begun_count = count,
        .begun = bytes + sizeof wire,
        .reason_size = reason,
        .output_size = output,
        .traceback_size = texts - reason - output,
        .reason = text,
        .output = text + reason,
        .traceback = text + reason + output,
    };
    return PN_OK;
}
