/* Envelopes: what is encoded decodes to the same, and what no correct peer
 * sends is refused. */
#include "check.h"

#include "base/status.h"
#include "mailbox/envelope.h"

static const uint8_t kinds[] = {
    PN_HELLO,    PN_NOTIFY, PN_STOP,   PN_BOUND,   PN_PEER,    PN_CANCEL,
    PN_PROGRESS, PN_CREDIT, PN_GRANT,  PN_LINK,    PN_SEGMENT, PN_ASK,
    PN_TELL,     PN_REPLY,  PN_ERROR,  PN_SPEC,    PN_DEFINE,  PN_LOG,
    PN_DOWN,     PN_ITEM,   PN_SWITCH, PN_FAILURE, PN_WATCH,   PN_ENDED,
    PN_FOLLOW,   PN_ROLE,   PN_DOOM,
};

#define KINDS (sizeof kinds / sizeof *kinds)

static uint8_t body[PN_BODY_LIMIT + 1]; /* a body to decode */

static size_t
encode(const pn_envelope *env, size_t payload)
{
    pn_envelope_encode(env, body);
    memset(body + pn_envelope_size(env), 'p', payload);
    return pn_envelope_size(env) + payload;
}

static int
decode(const pn_envelope *env, size_t payload)
{
    pn_envelope out = {.id = 4711};
    int err = pn_envelope_decode(&out, body, encode(env, payload));
    if (err != PN_OK)
        CHECK_INT(out.id, 4711); /* written only on PN_OK */
    return err;
}

static void
test_bytes_lie_where_the_protocol_says(void)
{
    static const uint8_t wanted[] = {
        16,  1,    2,   0,   3,   0,
        1,   0, /* kind, flags, sizes of the texts */
        1,   2,    0,   0,   0,   0,
        0,   0, /* source */
        3,   0,    0,   0,   0,   0,
        0,   0x80, /* target */
        5,   0,    0,   0,   0,   0,
        0,   0, /* id */
        0,   0,    1,   0,   0,   0,
        0,   0, /* size */
        0,   0,    0,   0,   0,   0,
        0,   0, /* offset */
        'd', 'o',  'b', 'o', 'b', 'x',
    };
    pn_envelope env = {
        .kind = PN_ASK,
        .named = true,
        .command_size = 2,
        .name_size = 3,
        .extension_size = 1,
        .source = 0x0201,
        .target = 0x8000000000000003u,
        .id = 5,
        .size = 65536,
        .command = "do",
        .name = "bob",
        .extension = (const uint8_t *)"x",
    };
    CHECK_INT(pn_envelope_size(&env), sizeof wanted);
    CHECK_INT(encode(&env, 0), sizeof wanted);
    CHECK(memcmp(body, wanted, sizeof wanted) == 0);
}

static void
test_only_known_kinds_and_flags_decode(void)
{
    for (unsigned kind = 0; kind < 256; kind++) {
        pn_envelope env = {.kind = (uint8_t)kind};
        bool known = memchr(kinds, (int)kind, KINDS) != NULL;
        CHECK_INT(decode(&env, 0), known ? PN_OK : PN_EPROTO);
    }
    for (unsigned flags = 0; flags < 256; flags++) {
        pn_envelope env = {.kind = PN_TELL}, out;
        size_t size = encode(&env, 0);
        body[1] = (uint8_t)flags;
        CHECK_INT(pn_envelope_decode(&out, body, size),
                  flags < 2 ? PN_OK : PN_EPROTO);
        if (flags < 2)
            CHECK_INT(out.named, flags);
    }
}

static void
test_cut_short_is_refused(void)
{
    pn_envelope env = {
        .kind = PN_TELL,
        .command_size = 4,
        .name_size = 3,
        .extension_size = 2,
        .command = "echo",
        .name = "bob",
        .extension = (const uint8_t *)"xy",
    };
    pn_envelope out;
    size_t size = encode(&env, 0);
    for (size_t len = 0; len < size; len++) {
        uint8_t *exact = malloc(len + 1); /* so that a read beyond shows */
        memcpy(exact + 1, body, len);
        CHECK_INT(pn_envelope_decode(&out, exact + 1, len), PN_EPROTO);
        free(exact);
    }
    CHECK_INT(pn_envelope_decode(&out, body, size), PN_OK);
}

static void
test_texts_have_limits(void)
{
    static const char text[PN_EXTENSION_LIMIT + 1];
    const uint8_t *bytes = (const uint8_t *)text;
    pn_envelope fits = {
        .kind = PN_TELL,
        .command_size = PN_TEXT_LIMIT,
        .name_size = PN_TEXT_LIMIT,
        .extension_size = PN_EXTENSION_LIMIT,
        .size = PN_CHUNK,
        .command = text,
        .name = text,
        .extension = bytes,
    };
    CHECK_INT(decode(&fits, PN_CHUNK), PN_OK);
    pn_envelope command = {
        .kind = PN_TELL, .command_size = PN_TEXT_LIMIT + 1, .command = text};
    CHECK_INT(decode(&command, 0), PN_EPROTO);
    pn_envelope name = {
        .kind = PN_TELL, .name_size = PN_TEXT_LIMIT + 1, .name = text};
    CHECK_INT(decode(&name, 0), PN_EPROTO);
    pn_envelope extension = {.kind = PN_TELL,
                             .extension_size = PN_EXTENSION_LIMIT + 1,
                             .extension = bytes};
    CHECK_INT(decode(&extension, 0), PN_EPROTO);
}

/* A chunk of a tell: payload bytes at offset of size. */
static int
decode_chunk(uint64_t size, uint64_t offset, size_t payload)
{
    pn_envelope env = {.kind = PN_TELL, .size = size, .offset = offset};
    return decode(&env, payload);
}

static void
test_chunk_must_lie_within_its_message(void)
{
    CHECK_INT(decode_chunk(0, 0, 0), PN_OK);
    CHECK_INT(decode_chunk(PN_CHUNK, 0, PN_CHUNK), PN_OK);
    CHECK_INT(decode_chunk(PN_CHUNK + 1, 0, PN_CHUNK + 1), PN_EPROTO);
    CHECK_INT(decode_chunk(100, 40, 60), PN_OK);
    CHECK_INT(decode_chunk(100, 41, 60), PN_EPROTO);
    CHECK_INT(decode_chunk(100, 0, 101), PN_EPROTO);
    CHECK_INT(decode_chunk(0, 0, 1), PN_EPROTO);
    CHECK_INT(decode_chunk(100, 0, 0), PN_EPROTO);
    CHECK_INT(decode_chunk(100, 100, 0), PN_EPROTO);
    CHECK_INT(decode_chunk(0, 1, 0), PN_EPROTO);
    CHECK_INT(decode_chunk(100, 101, 1), PN_EPROTO);
    CHECK_INT(decode_chunk(100, UINT64_MAX, 2), PN_EPROTO);
    CHECK_INT(decode_chunk(UINT64_MAX, UINT64_MAX, 1), PN_EPROTO);
    CHECK_INT(decode_chunk(UINT64_MAX, UINT64_MAX - 1, 1), PN_OK);
}

static void
test_later_chunk_carries_a_name_but_no_other_text(void)
{
    pn_envelope env = {.kind = PN_ASK, .size = 100, .offset = 10};
    env.name = "bob";
    env.name_size = 3;
    CHECK_INT(decode(&env, 10), PN_OK);
    env.command = "do";
    env.command_size = 2;
    CHECK_INT(decode(&env, 10), PN_EPROTO);
    env.command_size = 0;
    env.extension = (const uint8_t *)"x";
    env.extension_size = 1;
    CHECK_INT(decode(&env, 10), PN_EPROTO);
}

static void
test_control_comes_in_one_piece(void)
{
    for (size_t i = 0; i < KINDS && pn_kind_is_control(kinds[i]); i++) {
        pn_envelope env = {.kind = kinds[i], .size = 100};
        CHECK_INT(decode(&env, 100), PN_OK);
        CHECK_INT(decode(&env, 99), PN_EPROTO);
        env.offset = 50;
        CHECK_INT(decode(&env, 50), PN_EPROTO);
        env.offset = 1;
        CHECK_INT(decode(&env, 100), PN_EPROTO);
    }
}

static pn_envelope
random_envelope(test_random *random)
{
    static const uint8_t texts[PN_EXTENSION_LIMIT];
    return (pn_envelope){
        .kind = kinds[test_random_next(random) % KINDS],
        .named = test_random_next(random) % 2,
        .command_size = (uint16_t)(test_random_next(random) % 20),
        .name_size = (uint16_t)(test_random_next(random) % 20),
        .extension_size = (uint16_t)(test_random_next(random) % 50),
        .source = test_random_next(random),
        .target = test_random_next(random),
        .id = test_random_next(random),
        .size = test_random_next(random) % 1000,
        .command = (const char *)texts,
        .name = (const char *)texts,
        .extension = texts,
    };
}

static void
test_random_envelopes_survive_the_round_trip(void)
{
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 20000; i++) {
        pn_envelope env = random_envelope(&random), back;
        size_t size = encode(&env, env.size);
        for (size_t at = PN_ENVELOPE_SIZE; at < size; at++)
            body[at] = (uint8_t)test_random_next(&random);
        CHECK_INT(pn_envelope_decode(&back, body, size), PN_OK);
        CHECK_INT(pn_envelope_size(&back), pn_envelope_size(&env));
        CHECK_INT(back.source, env.source);
        CHECK_INT(back.id, env.id);
        CHECK_INT(back.named, env.named);
        uint8_t again[PN_ENVELOPE_SIZE + 100];
        pn_envelope_encode(&back, again);
        CHECK(memcmp(again, body, pn_envelope_size(&back)) == 0);
    }
}

static void
test_random_bytes_are_judged_without_harm(void)
{
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 100000; i++) {
        uint64_t words[10];
        for (size_t k = 0; k < 10; k++)
            words[k] = test_random_next(&random);
        uint8_t *bytes = (uint8_t *)words;
        bytes[0] = (uint8_t)(bytes[0] % (PN_KIND_LAST + 1));
        bytes[1] %= 2;
        bytes[3] = bytes[5] = bytes[7] = 0;
        size_t len = test_random_next(&random) % sizeof words;
        pn_envelope out;
        int err = pn_envelope_decode(&out, bytes, len);
        CHECK(err == PN_OK || err == PN_EPROTO);
        if (err == PN_OK)
            CHECK(pn_envelope_size(&out) <= len);
    }
}

static void
test_node_is_the_low_bits_of_a_number(void)
{
    CHECK_INT(pn_node_of(0), 0);
    CHECK_INT(pn_node_of(1), 1);
    CHECK_INT(pn_node_of(0xfffffffffu), 0xfffffffff);
    CHECK_INT(pn_node_of(0x1000000000u), 0);
    CHECK_INT(pn_node_of(0xabcdef1234567890u), 0x234567890);
    CHECK_INT(pn_node_of(UINT64_MAX), 0xfffffffff);
}

static void
check_down(const pn_down *down, const char *texts)
{
    uint8_t bytes[64];
    pn_down back;
    size_t size = strlen(texts);
    pn_down_encode(down, bytes);
    memcpy(bytes + PN_DOWN_SIZE, texts, size);
    CHECK_INT(pn_down_decode(&back, bytes, PN_DOWN_SIZE + size), PN_OK);
    CHECK_INT(back.exit_code, down->exit_code);
    CHECK_INT(back.signal, down->signal);
    CHECK_INT(back.core, down->core);
    CHECK_INT(back.oom, down->oom);
    CHECK_INT(back.reason_size, down->reason_size);
    CHECK_INT(back.output_size, down->output_size);
    CHECK_INT(back.traceback_size,
              size - down->reason_size - down->output_size);
    CHECK(back.reason == (const char *)bytes + PN_DOWN_SIZE);
    CHECK(back.output == back.reason + back.reason_size);
    CHECK(back.traceback == back.output + back.output_size);
}

static void
test_down_survives_the_round_trip(void)
{
    check_down(&(pn_down){.exit_code = PN_NO_EXIT_CODE,
                          .signal = 9,
                          .oom = PN_OOM_YES,
                          .reason_size = 6},
               "killed");
    check_down(&(pn_down){.exit_code = -1}, "");
    check_down(&(pn_down){.exit_code = INT32_MAX,
                          .signal = INT32_MAX,
                          .core = true,
                          .oom = PN_OOM_UNKNOWN,
                          .reason_size = 1,
                          .output_size = 2},
               "xyyzzz");
}

static void
test_a_down_tells_which_asks_had_begun(void)
{
    uint8_t bytes[PN_DOWN_SIZE + 20];
    pn_down down = {.known = true, .begun_count = 2, .reason_size = 3}, back;
    pn_down_encode(&down, bytes);
    memcpy(bytes + PN_DOWN_SIZE, "12345678abcdefghwhyx", 20);
    CHECK_INT(pn_down_decode(&back, bytes, sizeof bytes), PN_OK);
    CHECK(back.known);
    CHECK_INT(back.begun_count, 2);
    CHECK(memcmp(back.begun, "12345678abcdefgh", 16) == 0);
    CHECK(memcmp(back.reason, "why", 3) == 0);
    CHECK_INT(back.traceback_size, 1);
    CHECK_INT(pn_down_decode(&back, bytes, PN_DOWN_SIZE + 15), PN_EPROTO);
    down.begun_count = PN_DOWN_BEGUN + 1;
    pn_down_encode(&down, bytes);
    CHECK_INT(pn_down_decode(&back, bytes, sizeof bytes), PN_EPROTO);
    down = (pn_down){.known = true};
    pn_down_encode(&down, bytes);
    CHECK_INT(pn_down_decode(&back, bytes, PN_DOWN_SIZE), PN_OK);
    CHECK(back.known);
    CHECK_INT(back.begun_count, 0);
}

static void
test_a_down_that_says_what_it_cannot_is_refused(void)
{
    uint8_t bytes[PN_DOWN_SIZE + 4];
    pn_down down = {.reason_size = 3, .output_size = 1}, out = {.signal = 77};
    pn_down_encode(&down, bytes);
    for (size_t len = 0; len < sizeof bytes; len++)
        CHECK_INT(pn_down_decode(&out, bytes, len), PN_EPROTO);
    CHECK_INT(pn_down_decode(&out, bytes, sizeof bytes), PN_OK);
    out.signal = 77;
    for (size_t at = 8; at < 12; at++) { /* core, oom, ids that lack */
        bytes[at] = 3;
        CHECK_INT(pn_down_decode(&out, bytes, sizeof bytes), PN_EPROTO);
        bytes[at] = 0;
    }
    memset(bytes + 12, 0xff, 8); /* sizes whose sum wraps */
    CHECK_INT(pn_down_decode(&out, bytes, sizeof bytes), PN_EPROTO);
    CHECK_INT(out.signal, 77);
}

int
main(void)
{
    RUN(test_bytes_lie_where_the_protocol_says);
    RUN(test_only_known_kinds_and_flags_decode);
    RUN(test_cut_short_is_refused);
    RUN(test_texts_have_limits);
    RUN(test_chunk_must_lie_within_its_message);
    RUN(test_later_chunk_carries_a_name_but_no_other_text);
    RUN(test_control_comes_in_one_piece);
    RUN(test_random_envelopes_survive_the_round_trip);
    RUN(test_random_bytes_are_judged_without_harm);
    RUN(test_node_is_the_low_bits_of_a_number);
    RUN(test_down_survives_the_round_trip);
    RUN(test_a_down_tells_which_asks_had_begun);
    RUN(test_a_down_that_says_what_it_cannot_is_refused);
    return 0;
}
