/* The inbox: frames and messages out of bytes, and what hostile peers try. */
#include "check.h"

#include "base/alloc.h"
#include "base/status.h"
#include "mailbox/inbox.h"
#include "ws/frame.h"

#define LIMIT 100000

static uint8_t pattern[2 * LIMIT];

static void
fill_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 2654435761u >> 11);
}

/* A frame with this envelope, whose payload is the pattern's bytes from the
 * envelope's offset on, goes into the inbox. */
static void
feed(pn_inbox *inbox, const pn_envelope *env, size_t payload)
{
    uint8_t head[PN_FRAME_HEADER_MAX + PN_BODY_LIMIT];
    pn_frame frame = {
        .final = true,
        .opcode = PN_OP_BINARY,
        .length = pn_envelope_size(env) + payload,
    };
    size_t size = pn_frame_encode_header(head, &frame);
    pn_envelope_encode(env, head + size);
    size += pn_envelope_size(env);
    const uint8_t *bytes = pattern + env->offset;
    CHECK_INT(pn_buffer_append(&inbox->bytes, head, size), PN_OK);
    CHECK_INT(pn_buffer_append(&inbox->bytes, bytes, payload), PN_OK);
}

/* next and join of what has been fed. */
static int
take(pn_inbox *inbox, pn_message *message)
{
    pn_part part;
    int err = pn_inbox_next(inbox, &part);
    if (err == PN_OK)
        err = pn_inbox_join(inbox, &part, message);
    CHECK(pn_inbox_check(inbox));
    return err;
}

static int
feed_and_take(pn_inbox *inbox, const pn_envelope *env, size_t payload)
{
    pn_message message;
    feed(inbox, env, payload);
    return take(inbox, &message);
}

/* A chunk of the tell with this id, from source 1. */
static int
take_chunk(pn_inbox *inbox, uint64_t id, uint64_t size, uint64_t offset,
           size_t payload)
{
    pn_envelope env = {.kind = PN_TELL,
                       .source = 1,
                       .id = id,
                       .size = size,
                       .offset = offset};
    return feed_and_take(inbox, &env, payload);
}

static void
test_new_inbox_waits_for_bytes(void)
{
    pn_inbox inbox;
    pn_part part;
    pn_inbox_init(&inbox, LIMIT);
    CHECK_INT(pn_inbox_next(&inbox, &part), PN_MORE);
    pn_inbox_forget(&inbox, 1);
    pn_inbox_free(&inbox);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_message_of_one_frame_is_lent_in_place(void)
{
    pn_inbox inbox;
    pn_part part;
    pn_message message;
    pn_envelope env = {.kind = PN_ASK,
                       .id = 9,
                       .size = 10,
                       .command = "run",
                       .command_size = 3};
    pn_inbox_init(&inbox, LIMIT);
    feed(&inbox, &env, 10);
    CHECK_INT(pn_inbox_next(&inbox, &part), PN_OK);
    CHECK_INT(part.raw_size, 2 + PN_ENVELOPE_SIZE + 3 + 10);
    CHECK(part.payload + part.size == part.raw + part.raw_size);
    CHECK_INT(pn_inbox_join(&inbox, &part, &message), PN_OK);
    CHECK(message.payload == part.payload && message.size == 10);
    CHECK(memcmp(message.payload, pattern, 10) == 0);
    CHECK(memcmp(message.env.command, "run", 3) == 0);
    CHECK_INT(pn_inbox_next(&inbox, &part), PN_MORE);
    CHECK_INT(pn_buffer_size(&inbox.bytes), 0);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_message_in_chunks_is_whole_with_the_first_ones_texts(void)
{
    pn_inbox inbox;
    pn_message message;
    pn_envelope env = {.kind = PN_ASK,
                       .source = 1,
                       .size = 80000,
                       .command = "run",
                       .command_size = 3,
                       .name = "bob",
                       .name_size = 3,
                       .extension = (const uint8_t *)"x",
                       .extension_size = 1};
    pn_inbox_init(&inbox, LIMIT);
    CHECK_INT(feed_and_take(&inbox, &env, PN_CHUNK), PN_MORE);
    env.command_size = env.name_size = env.extension_size = 0;
    env.offset = PN_CHUNK;
    CHECK_INT(feed_and_take(&inbox, &env, 1), PN_MORE);
    env.offset = PN_CHUNK + 1;
    CHECK_INT(feed_and_take(&inbox, &env, PN_CHUNK - 1), PN_MORE);
    env.offset = 2 * PN_CHUNK;
    feed(&inbox, &env, 80000 - 2 * PN_CHUNK);
    CHECK_INT(take(&inbox, &message), PN_OK);
    CHECK_INT(message.size, 80000);
    CHECK_INT(message.env.size, 80000);
    CHECK_INT(message.env.offset, 0);
    CHECK(memcmp(message.payload, pattern, 80000) == 0);
    CHECK(memcmp(message.env.command, "run", 3) == 0);
    CHECK(memcmp(message.env.name, "bob", 3) == 0);
    CHECK(memcmp(message.env.extension, "x", 1) == 0);
    CHECK_INT(inbox.held, 0);
    CHECK_INT(take(&inbox, &message), PN_MORE);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_frame_that_no_link_carries_is_refused(void)
{
    static const uint8_t bad[][4] = {
        {0x02, 48},          /* not final */
        {0x81, 48},          /* text */
        {0x80, 48},          /* continuation */
        {0x89, 0},           /* ping */
        {0xc2, 48},          /* a reserved bit */
        {0x82, 127, 0xff, 0} /* length over 2^63, once it is whole */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pn_inbox inbox;
        pn_part part;
        uint8_t bytes[64] = {0};
        memcpy(bytes, bad[i], 4);
        pn_inbox_init(&inbox, LIMIT);
        CHECK_INT(pn_buffer_append(&inbox.bytes, bytes, 64), PN_OK);
        CHECK_INT(pn_inbox_next(&inbox, &part), PN_EPROTO);
        CHECK_INT(pn_inbox_next(&inbox, &part), PN_EPROTO);
        pn_inbox_free(&inbox);
    }
    uint8_t masked[64] = {0x82, 0x80 | 48};
    pn_inbox inbox;
    pn_part part;
    pn_inbox_init(&inbox, LIMIT);
    CHECK_INT(pn_buffer_append(&inbox.bytes, masked, 64), PN_OK);
    CHECK_INT(pn_inbox_next(&inbox, &part), PN_EPROTO);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_oversized_frame_is_refused_by_its_header_alone(void)
{
    pn_inbox inbox;
    pn_part part;
    pn_inbox_init(&inbox, LIMIT);
    pn_frame frame = {.final = true, .opcode = PN_OP_BINARY};
    for (uint64_t over = 0; over < 2; over++) {
        uint8_t head[PN_FRAME_HEADER_MAX];
        frame.length = PN_BODY_LIMIT + over;
        size_t size = pn_frame_encode_header(head, &frame);
        CHECK_INT(pn_buffer_append(&inbox.bytes, head, size), PN_OK);
        CHECK_INT(pn_inbox_next(&inbox, &part), over ? PN_ETOOBIG : PN_MORE);
        pn_inbox_free(&inbox);
    }
    CHECK_INT(live_blocks(), 0);
}

static void
test_frame_too_short_for_an_envelope_is_refused(void)
{
    for (uint8_t length = 0; length < PN_ENVELOPE_SIZE; length++) {
        pn_inbox inbox;
        pn_part part;
        uint8_t bytes[64] = {0x82, length, PN_TELL};
        pn_inbox_init(&inbox, LIMIT);
        CHECK_INT(pn_buffer_append(&inbox.bytes, bytes, 64), PN_OK);
        CHECK_INT(pn_inbox_next(&inbox, &part), PN_EPROTO);
        pn_inbox_free(&inbox);
    }
    CHECK_INT(live_blocks(), 0);
}

static void
test_chunk_out_of_order_is_refused(void)
{
    static const struct {
        uint64_t size;
        uint64_t offset;
    } second[] = {
        {60000, 0},    /* the first one again */
        {60000, 999},  /* overlaps */
        {60000, 1001}, /* leaves a gap */
        {60001, 1000}, /* of another size */
        {59999, 1000},
    };
    for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
        pn_inbox inbox;
        pn_inbox_init(&inbox, LIMIT);
        CHECK_INT(take_chunk(&inbox, 7, 60000, 0, 1000), PN_MORE);
        CHECK_INT(
            take_chunk(&inbox, 7, second[i].size, second[i].offset, 1000),
            PN_EPROTO);
        pn_inbox_free(&inbox);
        CHECK_INT(live_blocks(), 0);
    }
}

static void
test_rest_of_a_forgotten_message_is_dropped(void)
{
    pn_inbox inbox;
    pn_inbox_init(&inbox, LIMIT);
    CHECK_INT(take_chunk(&inbox, 7, 60000, 30000, 30000), PN_MORE);
    CHECK_INT(take_chunk(&inbox, 7, 60000, 0, 30000), PN_MORE);
    pn_inbox_forget(&inbox, 2); /* somebody else */
    CHECK_INT(inbox.unfinished_count, 1);
    pn_inbox_forget(&inbox, 1);
    CHECK_INT(inbox.unfinished_count, 0);
    CHECK_INT(inbox.held, 0);
    CHECK_INT(take_chunk(&inbox, 7, 60000, 30000, 30000), PN_MORE);
    CHECK_INT(take_chunk(&inbox, 8, 60000, 0, 30000), PN_MORE);
    CHECK_INT(take_chunk(&inbox, 8, 60000, 30000, 30000), PN_OK);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_lent_message_is_freed_with_the_inbox(void)
{
    pn_inbox inbox;
    pn_message message;
    pn_inbox_init(&inbox, LIMIT);
    CHECK_INT(take_chunk(&inbox, 7, 60000, 0, 30000), PN_MORE);
    pn_envelope env = {
        .kind = PN_TELL, .source = 1, .id = 7, .size = 60000, .offset = 30000};
    feed(&inbox, &env, 30000);
    CHECK_INT(take(&inbox, &message), PN_OK);
    pn_inbox_free(&inbox); /* frees what was lent, too */
    CHECK_INT(live_blocks(), 0);
}

static void
test_taken_payload_outlives_the_inbox(void)
{
    pn_inbox inbox;
    pn_message message;
    pn_ref ref, again;
    pn_envelope env = {
        .kind = PN_TELL, .id = 1, .size = 50000, .offset = PN_CHUNK};
    pn_inbox_init(&inbox, LIMIT);
    CHECK_INT(take_chunk(&inbox, 1, 50000, 0, PN_CHUNK), PN_MORE);
    env.source = 1;
    feed(&inbox, &env, 50000 - PN_CHUNK);
    CHECK_INT(take(&inbox, &message), PN_OK);
    CHECK(pn_inbox_take(&inbox, &message, &ref));
    CHECK(!pn_inbox_take(&inbox, &message, &again));
    CHECK(ref.data == message.payload && ref.size == 50000);
    CHECK_INT((uintptr_t)ref.data % PN_ALIGNMENT, 0);
    pn_inbox_free(&inbox);
    CHECK(memcmp(ref.data, pattern, 50000) == 0);
    pn_ref_release(&ref);
    CHECK_INT(live_blocks(), 0);
}

static void
test_payload_of_one_frame_is_not_taken(void)
{
    pn_inbox inbox;
    pn_message message;
    pn_ref ref;
    pn_envelope env = {.kind = PN_TELL, .id = 1, .size = 10};
    pn_inbox_init(&inbox, LIMIT);
    feed(&inbox, &env, 10);
    CHECK_INT(take(&inbox, &message), PN_OK);
    CHECK(!pn_inbox_take(&inbox, &message, &ref));
    pn_inbox_free(&inbox);
}

static void
test_message_over_the_limit_is_dropped_alone(void)
{
    pn_inbox inbox;
    pn_inbox_init(&inbox, LIMIT);
    CHECK_INT(take_chunk(&inbox, 1, LIMIT + 1, 0, 1000), PN_ETOOBIG);
    CHECK_INT(take_chunk(&inbox, 1, LIMIT + 1, 1000, 1000), PN_MORE);
    CHECK_INT(take_chunk(&inbox, 1, UINT64_MAX, 0, 1000), PN_ETOOBIG);
    CHECK_INT(live_blocks(), 1); /* the bytes */
    CHECK_INT(take_chunk(&inbox, 2, 1000, 0, 1000), PN_OK);
    pn_inbox_free(&inbox);
    pn_inbox_init(&inbox, 999);
    CHECK_INT(take_chunk(&inbox, 2, 1000, 0, 1000), PN_ETOOBIG);
    CHECK_INT(take_chunk(&inbox, 3, 999, 0, 999), PN_OK);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_no_limit_does_not_overflow(void)
{
    pn_inbox inbox;
    pn_inbox_init(&inbox, SIZE_MAX);
    CHECK_INT(inbox.message_limit, PN_INBOX_LIMIT_MAX);
    for (uint64_t back = 0; back < 200; back++)
        CHECK_INT(take_chunk(&inbox, 1, UINT64_MAX - back, 0, 1000),
                  PN_ETOOBIG);
    fail_after(0); /* of size_t it is, but nobody has so much */
    pn_envelope env = {.kind = PN_TELL, .size = PN_INBOX_LIMIT_MAX};
    pn_part part = {.env = env, .payload = pattern, .size = 1000};
    pn_message message;
    CHECK_INT(pn_inbox_join(&inbox, &part, &message), PN_ENOMEM);
    fail_never();
    CHECK_INT(inbox.held, 0);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

/* Begin messages until the inbox has enough of it; texts are dear, too. */
static size_t
begin_many(pn_inbox *inbox, uint64_t size, uint16_t extension)
{
    size_t begun = 0;
    pn_envelope env = {.kind = PN_TELL,
                       .size = size,
                       .extension = pattern,
                       .extension_size = extension};
    for (;; begun++) {
        env.id = begun;
        int err = feed_and_take(inbox, &env, 1);
        if (err == PN_ETOOBIG)
            return begun;
        CHECK_INT(err, PN_MORE);
    }
}

static void
test_peer_cannot_make_us_hold_more_than_the_limit(void)
{
    pn_inbox inbox;
    pn_inbox_init(&inbox, LIMIT);
    CHECK(begin_many(&inbox, LIMIT, 0) >= PN_INBOX_HELD_FACTOR);
    CHECK(inbox.held <= pn_inbox_held_limit(&inbox));
    pn_inbox_free(&inbox);
    pn_inbox_init(&inbox, LIMIT);
    CHECK(begin_many(&inbox, 2, PN_EXTENSION_LIMIT) < 200);
    pn_inbox_free(&inbox);
    pn_inbox_init(&inbox, (size_t)1 << 30);
    CHECK_INT(begin_many(&inbox, 2, 0), PN_INBOX_UNFINISHED_LIMIT);
    pn_inbox_forget(&inbox, 0);
    CHECK_INT(inbox.held, 0);
    CHECK_INT(take_chunk(&inbox, 1, 60000, 0, 1000), PN_MORE);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_the_message_is_dropped_alone(void)
{
    for (long n = 0; n < 2; n++) {
        pn_inbox inbox;
        pn_message message;
        pn_envelope env = {.kind = PN_TELL, .source = 1, .size = 60000};
        pn_inbox_init(&inbox, LIMIT);
        feed(&inbox, &env, 30000);
        fail_after(n);
        CHECK_INT(take(&inbox, &message), PN_ENOMEM);
        fail_never();
        CHECK_INT(take_chunk(&inbox, 0, 60000, 30000, 30000), PN_MORE);
        CHECK_INT(take_chunk(&inbox, 1, 10, 0, 10), PN_OK);
        CHECK_INT(inbox.held, 0);
        pn_inbox_free(&inbox);
        CHECK_INT(live_blocks(), 0);
    }
}

/* Random bytes behind a right frame header: an answer, and no more. */
static void
test_garbage_is_refused_without_harm(void)
{
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[128] = {0x82, 100};
        for (size_t k = 2; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)(test_random_next(&random) % 3 == 0
                                     ? test_random_next(&random) % 32
                                     : 0);
        bytes[test_random_next(&random) % 8] ^= 1;
        pn_inbox inbox;
        pn_message message;
        pn_inbox_init(&inbox, LIMIT);
        CHECK_INT(pn_buffer_append(&inbox.bytes, bytes, sizeof bytes), PN_OK);
        int err = take(&inbox, &message);
        CHECK(err == PN_OK || err == PN_MORE || err == PN_EPROTO ||
              err == PN_ETOOBIG);
        pn_inbox_free(&inbox);
    }
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    fill_pattern();
    RUN(test_new_inbox_waits_for_bytes);
    RUN(test_message_of_one_frame_is_lent_in_place);
    RUN(test_message_in_chunks_is_whole_with_the_first_ones_texts);
    RUN(test_frame_that_no_link_carries_is_refused);
    RUN(test_oversized_frame_is_refused_by_its_header_alone);
    RUN(test_frame_too_short_for_an_envelope_is_refused);
    RUN(test_chunk_out_of_order_is_refused);
    RUN(test_rest_of_a_forgotten_message_is_dropped);
    RUN(test_lent_message_is_freed_with_the_inbox);
    RUN(test_taken_payload_outlives_the_inbox);
    RUN(test_payload_of_one_frame_is_not_taken);
    RUN(test_message_over_the_limit_is_dropped_alone);
    RUN(test_no_limit_does_not_overflow);
    RUN(test_peer_cannot_make_us_hold_more_than_the_limit);
    RUN(test_without_memory_the_message_is_dropped_alone);
    RUN(test_garbage_is_refused_without_harm);
    return 0;
}
