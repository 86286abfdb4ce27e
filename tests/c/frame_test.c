/* pn_frame_decode and pn_frame_encode_header against each other, and against
 * the examples and limits of RFC 6455. */
#include "check.h"

#include "base/status.h"
#include "ws/frame.h"

/* Header bytes, what they decode to, and whether they are right. */
typedef struct {
    uint8_t bytes[PN_FRAME_HEADER_MAX];
    size_t size;
    pn_frame frame;
} example;

static const example examples[] = {
    /* RFC 6455, section 5.7. */
    {{0x81, 0x05}, 2, {.length = 5, .opcode = 1, .final = true}},
    {{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d},
     6,
     {.length = 5,
      .opcode = 1,
      .final = true,
      .masked = true,
      .key = {0x37, 0xfa, 0x21, 0x3d}}},
    {{0x01, 0x03}, 2, {.length = 3, .opcode = 1}},
    {{0x80, 0x02}, 2, {.length = 2, .opcode = 0, .final = true}},
    {{0x82, 0x7e, 0x01, 0x00}, 4, {.length = 256, .opcode = 2, .final = true}},
    {{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0},
     10,
     {.length = 65536, .opcode = 2, .final = true}},
    /* The borders between the three forms of a length. */
    {{0x88, 0x7d}, 2, {.length = 125, .opcode = 8, .final = true}},
    {{0x82, 0x7e, 0x00, 0x7e}, 4, {.length = 126, .opcode = 2, .final = true}},
    {{0x82, 0x7e, 0xff, 0xff},
     4,
     {.length = 65535, .opcode = 2, .final = true}},
    {{0x02, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4},
     14,
     {.length = INT64_MAX, .opcode = 2, .masked = true, .key = {1, 2, 3, 4}}},
    {{0x89, 0x00}, 2, {.length = 0, .opcode = 9, .final = true}},
    {{0x8a, 0x00}, 2, {.length = 0, .opcode = 10, .final = true}},
};

static void
check_same(const pn_frame *got, const pn_frame *wanted)
{
    CHECK_INT(got->length, wanted->length);
    CHECK_INT(got->opcode, wanted->opcode);
    CHECK_INT(got->rsv, wanted->rsv);
    CHECK_INT(got->final, wanted->final);
    CHECK_INT(got->masked, wanted->masked);
    CHECK(memcmp(got->key, wanted->key, 4) == 0);
}

static void
test_examples_decode_once_they_are_whole(void)
{
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const example *e = &examples[i];
        pn_frame frame = {.opcode = 77};
        for (size_t len = 0; len < e->size; len++)
            CHECK_INT(pn_frame_decode(&frame, e->bytes, len), PN_MORE);
        CHECK_INT(frame.opcode, 77);
        CHECK_INT(pn_frame_decode(&frame, e->bytes, e->size), PN_OK);
        CHECK_INT(frame.header_size, e->size);
        check_same(&frame, &e->frame);
    }
}

static void
test_examples_encode_to_their_bytes(void)
{
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const example *e = &examples[i];
        uint8_t out[PN_FRAME_HEADER_MAX];
        CHECK_INT(pn_frame_check(&e->frame), PN_OK);
        CHECK_INT(pn_frame_header_size(&e->frame), e->size);
        CHECK_INT(pn_frame_encode_header(out, &e->frame), e->size);
        CHECK(memcmp(out, e->bytes, e->size) == 0);
    }
}

/* Refused with the first `size` bytes at hand, and right until then. */
static void
check_refused_at(const uint8_t *bytes, size_t size)
{
    pn_frame frame;
    for (size_t len = 0; len < size; len++)
        CHECK_INT(pn_frame_decode(&frame, bytes, len), PN_MORE);
    CHECK_INT(pn_frame_decode(&frame, bytes, size), PN_EPROTO);
}

static void
test_first_byte_is_judged_at_once(void)
{
    for (unsigned first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        unsigned opcode = first & 0xf;
        bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
        bool control_cut = opcode >= 8 && first < 0x80;
        bool right = known && (first & 0x70) == 0 && !control_cut;
        pn_frame frame;
        CHECK_INT(pn_frame_decode(&frame, &byte, 1),
                  right ? PN_MORE : PN_EPROTO);
    }
}

static void
test_control_frame_over_125_bytes_is_refused(void)
{
    for (uint8_t opcode = PN_OP_CLOSE; opcode <= PN_OP_PONG; opcode++) {
        check_refused_at((uint8_t[]){0x80 | opcode, 126}, 2);
        check_refused_at((uint8_t[]){0x80 | opcode, 127}, 2);
        check_refused_at((uint8_t[]){0x80 | opcode, 0xfe}, 2);
    }
}

static void
test_length_must_be_in_its_shortest_form(void)
{
    check_refused_at((uint8_t[]){0x82, 126, 0, 0}, 4);
    check_refused_at((uint8_t[]){0x82, 126, 0, 125}, 4);
    check_refused_at((uint8_t[]){0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1}, 10);
    check_refused_at((uint8_t[]){0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 10);
}

static void
test_length_with_its_top_bit_is_refused(void)
{
    check_refused_at((uint8_t[]){0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 10);
    check_refused_at(
        (uint8_t[]){0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255}, 10);
}

static void
test_check_refuses_what_may_not_be_sent(void)
{
    pn_frame frame = {.opcode = PN_OP_PING};
    CHECK_INT(pn_frame_check(&frame), PN_EPROTO);
    frame.final = true;
    CHECK_INT(pn_frame_check(&frame), PN_OK);
    frame.length = 125;
    CHECK_INT(pn_frame_check(&frame), PN_OK);
    frame.length = 126;
    CHECK_INT(pn_frame_check(&frame), PN_EPROTO);
    frame.opcode = PN_OP_TEXT;
    CHECK_INT(pn_frame_check(&frame), PN_OK);
    frame.rsv = 7;
    CHECK_INT(pn_frame_check(&frame), PN_OK);
    frame.rsv = 8;
    CHECK_INT(pn_frame_check(&frame), PN_EPROTO);
    frame.rsv = 0;
    frame.length = (uint64_t)INT64_MAX + 1;
    CHECK_INT(pn_frame_check(&frame), PN_EPROTO);
    frame.length = 0;
    for (uint8_t opcode = 0; opcode < 32; opcode++) {
        frame.opcode = opcode;
        CHECK_INT(pn_frame_check(&frame) == PN_OK,
                  pn_frame_opcode_is_known(opcode));
    }
}

static void
test_reserved_bits_are_encoded_in_their_places(void)
{
    uint8_t out[PN_FRAME_HEADER_MAX];
    pn_frame frame = {.opcode = PN_OP_BINARY, .rsv = 4};
    CHECK_INT(pn_frame_encode_header(out, &frame), 2);
    CHECK_INT(out[0], 0x42);
    frame.rsv = 1;
    CHECK_INT(pn_frame_encode_header(out, &frame), 2);
    CHECK_INT(out[0], 0x12);
}

static void
test_close_codes_of_the_wire(void)
{
    static const unsigned valid[] = {1000, 1003, 1007, 1011, 1012,
                                     1014, 3000, 3999, 4000, 4999};
    static const unsigned invalid[] = {0,    999,  1004, 1005, 1006, 1015,
                                       1016, 2000, 2999, 5000, 65535};
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
        CHECK(pn_frame_close_code_is_valid(valid[i]));
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        CHECK(!pn_frame_close_code_is_valid(invalid[i]));
}

static uint64_t
random_length(test_random *random, bool control)
{
    if (control)
        return test_random_next(random) % (PN_FRAME_CONTROL_MAX + 1);
    return test_random_next(random) >> (1 + test_random_next(random) % 63);
}

static void
test_random_headers_survive_the_round_trip(void)
{
    static const uint8_t opcodes[] = {0, 1, 2, 8, 9, 10};
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 100000; i++) {
        pn_frame frame = {.opcode = opcodes[test_random_next(&random) % 6]};
        bool control = pn_frame_is_control(frame.opcode);
        frame.final = control || test_random_next(&random) % 2;
        frame.masked = test_random_next(&random) % 2;
        frame.length = random_length(&random, control);
        uint32_t key = (uint32_t)test_random_next(&random);
        if (frame.masked)
            memcpy(frame.key, &key, 4);

        uint8_t out[PN_FRAME_HEADER_MAX];
        size_t size = pn_frame_encode_header(out, &frame);
        pn_frame back;
        for (size_t len = 0; len < size; len++)
            CHECK_INT(pn_frame_decode(&back, out, len), PN_MORE);
        CHECK_INT(pn_frame_decode(&back, out, size), PN_OK);
        CHECK_INT(back.header_size, size);
        check_same(&back, &frame);
    }
}

int
main(void)
{
    RUN(test_examples_decode_once_they_are_whole);
    RUN(test_examples_encode_to_their_bytes);
    RUN(test_first_byte_is_judged_at_once);
    RUN(test_control_frame_over_125_bytes_is_refused);
    RUN(test_length_must_be_in_its_shortest_form);
    RUN(test_length_with_its_top_bit_is_refused);
    RUN(test_check_refuses_what_may_not_be_sent);
    RUN(test_reserved_bits_are_encoded_in_their_places);
    RUN(test_close_codes_of_the_wire);
    RUN(test_random_headers_survive_the_round_trip);
    return 0;
}
