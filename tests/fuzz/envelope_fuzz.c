/* Oracle: what decodes lies within the input and encodes back to the same
 * bytes; the input cut anywhere in its head does not decode, and cut in its
 * payload never differs but in the payload. */
#include "base/status.h"
#include "mailbox/envelope.h"

#undef NDEBUG /* the oracle speaks in every build */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_round_trip(const pn_envelope *env, const uint8_t *data, size_t size)
{
    static uint8_t again[PN_BODY_LIMIT];
    size_t head = pn_envelope_size(env);
    assert(head <= size && size <= PN_BODY_LIMIT);
    assert(size - head <= PN_CHUNK && size - head <= env->size);
    assert((const uint8_t *)env->command == data + PN_ENVELOPE_SIZE);
    assert(env->extension + env->extension_size == data + head);
    pn_envelope_encode(env, again);
    assert(memcmp(again, data, head) == 0);
}

/* In a block of its own, so that a read beyond its end shows. */
static int
decode_copy(pn_envelope *out, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, data, size);
    int err = pn_envelope_decode(out, copy, size);
    free(copy); /* what out points to is not looked at */
    return err;
}

static void
check_cuts(const pn_envelope *env, const uint8_t *data, size_t size)
{
    size_t head = pn_envelope_size(env);
    for (size_t cut = 0; cut < size; cut += 1 + cut / 8) {
        pn_envelope less = {.id = ~env->id};
        int err = decode_copy(&less, data, cut);
        assert(err == PN_OK || err == PN_EPROTO);
        assert(cut >= head || err == PN_EPROTO);
        assert(less.id == (err == PN_OK ? env->id : ~env->id));
    }
}

static void
check_down(const uint8_t *data, size_t size)
{
    pn_down down;
    uint8_t again[PN_DOWN_SIZE];
    if (pn_down_decode(&down, data, size) != PN_OK)
        return;
    assert((const uint8_t *)down.reason == data + PN_DOWN_SIZE);
    assert(down.output == down.reason + down.reason_size);
    assert(down.traceback == down.output + down.output_size);
    assert((const uint8_t *)down.traceback + down.traceback_size ==
           data + size);
    pn_down_encode(&down, again);
    assert(memcmp(again, data, PN_DOWN_SIZE) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pn_envelope env;
    check_down(data, size);
    int err = pn_envelope_decode(&env, data, size);
    if (err == PN_OK) {
        check_round_trip(&env, data, size);
        check_cuts(&env, data, size);
    } else {
        assert(err == PN_EPROTO);
    }
    return 0;
}
