/* pn_reader over streams made by hand and at random: whole, byte by byte and
 * in random pieces. */
#include "check.h"

#include "base/alloc.h"
#include "base/status.h"
#include "ws/mask.h"
#include "ws/reader.h"

#define ROOM 8192

/* Where bodies go, and a digest of all frames of a stream. */
typedef struct {
    pn_reader reader;
    uint8_t *body;
    int status; /* of the last feed */
    int frames;
    char seen[ROOM]; /* "opcode final length:body;" of each frame */
    size_t seen_len;
} session;

static uint8_t *
give_room(void *context, const pn_frame *frame)
{
    session *s = context;
    CHECK(s->body == NULL);
    CHECK(frame->length > 0);
    s->body = pn_alloc((size_t)frame->length);
    return s->body;
}

static void
start(session *s, bool masked, uint64_t max_frame, uint64_t max_message)
{
    memset(s, 0, sizeof *s);
    pn_reader_init(&s->reader, &(pn_reader_options){
                                   .room = give_room,
                                   .context = s,
                                   .max_frame = max_frame,
                                   .max_message = max_message,
                                   .masked = masked,
                               });
}

static void
note_frame(session *s)
{
    const pn_frame *frame = &s->reader.frame;
    CHECK(s->reader.body == s->body);
    int n = snprintf(s->seen + s->seen_len, ROOM - s->seen_len,
                     "%x%s%d:", frame->opcode, frame->final ? "" : "+",
                     (int)frame->length);
    s->seen_len += (size_t)n;
    CHECK(s->seen_len + frame->length + 1 < ROOM);
    if (frame->length > 0)
        memcpy(s->seen + s->seen_len, s->body, (size_t)frame->length);
    s->seen_len += (size_t)frame->length;
    s->seen[s->seen_len++] = ';';
    s->frames++;
    pn_free(s->body);
    s->body = NULL;
}

/* Feed a piece and note the frames that it completes. */
static void
feed(session *s, const uint8_t *buf, size_t len)
{
    do {
        size_t used = SIZE_MAX;
        s->status = pn_reader_feed(&s->reader, buf, len, &used);
        CHECK(used <= len);
        if (s->status == PN_OK)
            note_frame(s);
        if (s->status == PN_MORE)
            CHECK_INT(used, len);
        buf += used;
        len -= used;
    } while (s->status == PN_OK);
}

static void
finish(session *s)
{
    pn_free(s->body);
    s->body = NULL;
    CHECK_INT(live_blocks(), 0);
}

/* The stream in pieces of `step` bytes gives these frames and ends so. */
static void
check_stream(bool masked, const void *bytes, size_t len, size_t step,
             const char *seen, int status)
{
    session s;
    start(&s, masked, 1000, 2000);
    feed(&s, bytes, 0);
    for (size_t at = 0; at < len && s.status >= 0; at += step)
        feed(&s, (const uint8_t *)bytes + at,
             step < len - at ? step : len - at);
    CHECK_INT(s.status, status);
    CHECK_INT(s.seen_len, strlen(seen));
    CHECK(memcmp(s.seen, seen, s.seen_len) == 0);
    if (status < 0) {
        size_t used;
        CHECK(s.reader.fault != NULL);
        CHECK_INT(pn_reader_feed(&s.reader, (const uint8_t *)"\x82", 1, &used),
                  status);
    }
    finish(&s);
}

#define CHECK_STREAM(masked, bytes, seen, status)                             \
    do {                                                                      \
        for (size_t step_ = 1; step_ <= sizeof bytes; step_++)                \
            check_stream(masked, bytes, sizeof bytes - 1, step_, seen,        \
                         status);                                             \
    } while (0)

static void
test_examples_of_the_rfc(void)
{
    CHECK_STREAM(false, "\x81\x05Hello", "15:Hello;", PN_MORE);
    CHECK_STREAM(true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
                 "15:Hello;", PN_MORE);
    CHECK_STREAM(false, "\x01\x03Hel\x80\x02lo", "1+3:Hel;02:lo;", PN_MORE);
    CHECK_STREAM(false, "\x89\x05Hello\x8a\x05Hello", "95:Hello;a5:Hello;",
                 PN_MORE);
}

static void
test_empty_frames_are_frames(void)
{
    CHECK_STREAM(false, "\x82\x00\x81\x00\x88\x00\x89\x00", "20:;10:;80:;90:;",
                 PN_MORE);
    CHECK_STREAM(true,
                 "\x82\x80"
                 "abcd"
                 "\x82\x80"
                 "abcd",
                 "20:;20:;", PN_MORE);
    CHECK_STREAM(false, "\x01\x00\x00\x00\x80\x00", "1+0:;0+0:;00:;", PN_MORE);
}

static void
test_masks_must_be_as_agreed(void)
{
    CHECK_STREAM(true, "\x82\x01", "", PN_EPROTO);
    CHECK_STREAM(true, "\x82\x7e", "", PN_EPROTO);
    CHECK_STREAM(false, "\x82\x81", "", PN_EPROTO);
    CHECK_STREAM(false, "\x82\x00\x82\xff", "20:;", PN_EPROTO);
}

/* A wrong mask bit is the first fault, however the bytes come. */
static void
test_mask_is_judged_before_the_length(void)
{
    static const uint8_t bytes[10] = {0x82, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff};
    session whole, pieces;
    start(&whole, false, 1000, 1000);
    feed(&whole, bytes, sizeof bytes);
    start(&pieces, false, 1000, 1000);
    feed(&pieces, bytes, 1);
    feed(&pieces, bytes + 1, 1);
    CHECK_INT(whole.status, PN_EPROTO);
    CHECK_INT(pieces.status, PN_EPROTO);
    CHECK(strcmp(whole.reader.fault, pieces.reader.fault) == 0);
    finish(&whole);
    finish(&pieces);
}

static void
test_caller_may_fail_the_reader(void)
{
    session s;
    start(&s, false, 1000, 1000);
    CHECK_INT(pn_reader_fail(&s.reader, PN_ECLOSED, "gone"), PN_ECLOSED);
    feed(&s, (const uint8_t *)"\x82\x00", 2);
    CHECK_INT(s.status, PN_ECLOSED);
    CHECK_INT(s.frames, 0);
    finish(&s);
}

static void
test_wrong_headers_are_refused_after_right_frames(void)
{
    CHECK_STREAM(false,
                 "\x82\x01"
                 "a"
                 "\xc2",
                 "21:a;", PN_EPROTO);
    CHECK_STREAM(false,
                 "\x82\x01"
                 "a"
                 "\x83",
                 "21:a;", PN_EPROTO);
    CHECK_STREAM(false,
                 "\x82\x01"
                 "a"
                 "\x09",
                 "21:a;", PN_EPROTO);
    CHECK_STREAM(false,
                 "\x82\x01"
                 "a"
                 "\x89\x7e",
                 "21:a;", PN_EPROTO);
    CHECK_STREAM(false, "\x82\x7e\x00\x7d", "", PN_EPROTO);
}

static void
test_fragments_come_in_order(void)
{
    CHECK_STREAM(false,
                 "\x80\x01"
                 "a",
                 "", PN_EPROTO);
    CHECK_STREAM(false,
                 "\x02\x01"
                 "a"
                 "\x82\x01"
                 "b",
                 "2+1:a;", PN_EPROTO);
    CHECK_STREAM(false,
                 "\x02\x01"
                 "a"
                 "\x01\x01"
                 "b",
                 "2+1:a;", PN_EPROTO);
    CHECK_STREAM(false,
                 "\x02\x01"
                 "a"
                 "\x80\x01"
                 "b"
                 "\x80\x01"
                 "c",
                 "2+1:a;01:b;", PN_EPROTO);
    CHECK_STREAM(false,
                 "\x02\x01"
                 "a"
                 "\x89\x01"
                 "p"
                 "\x80\x01"
                 "b",
                 "2+1:a;91:p;01:b;", PN_MORE);
}

static void
test_text_fails_at_its_first_wrong_byte(void)
{
    CHECK_STREAM(false,
                 "\x81\x7e\x01\x00"
                 "ab\xc0",
                 "", PN_EUTF8);
    CHECK_STREAM(false,
                 "\x81\x09"
                 "ab\xed\xa0",
                 "", PN_EUTF8);
    CHECK_STREAM(false,
                 "\x81\x02"
                 "a\xe2",
                 "", PN_EUTF8);
    CHECK_STREAM(false,
                 "\x82\x03"
                 "ab\xc0",
                 "23:ab\xc0;", PN_MORE);
    CHECK_STREAM(true,
                 "\x81\x85"
                 "\x80\x80\x80\x80"
                 "\xe1\x40",
                 "", PN_EUTF8);
}

static void
test_text_may_be_cut_within_a_character(void)
{
    CHECK_STREAM(false,
                 "\x01\x02"
                 "a\xe2"
                 "\x00\x01\x82"
                 "\x80\x01\xac",
                 "1+2:a\xe2;0+1:\x82;01:\xac;", PN_MORE);
    CHECK_STREAM(false,
                 "\x01\x01\xe2"
                 "\x8a\x01\xff"
                 "\x80\x02\x82\xac",
                 "1+1:\xe2;a1:\xff;02:\x82\xac;", PN_MORE);
    CHECK_STREAM(false,
                 "\x01\x01\xe2"
                 "\x80\x01\x82",
                 "1+1:\xe2;", PN_EUTF8);
    CHECK_STREAM(false,
                 "\x01\x01\xe2"
                 "\x80\x00",
                 "1+1:\xe2;", PN_EUTF8);
    CHECK_STREAM(false,
                 "\x01\x01\xe2"
                 "\x00\x05"
                 "a",
                 "1+1:\xe2;", PN_EUTF8);
    /* The next message starts afresh, and binary fragments are not text. */
    CHECK_STREAM(false,
                 "\x01\x01"
                 "a"
                 "\x80\x01"
                 "b"
                 "\x02\x01\xff\x80\x01\xff",
                 "1+1:a;01:b;2+1:\xff;01:\xff;", PN_MORE);
}

static void
test_close_frames_carry_a_code_of_the_wire(void)
{
    CHECK_STREAM(false, "\x88\x02\x03\xe8", "82:\x03\xe8;", PN_MORE);
    CHECK_STREAM(false, "\x88\x04\x03\xe9ok", "84:\x03\xe9ok;", PN_MORE);
    CHECK_STREAM(false, "\x88\x01\x03", "", PN_EPROTO);
    CHECK_STREAM(false, "\x88\x02\x03\xed", "", PN_EPROTO);
    CHECK_STREAM(false, "\x88\x03\x03\xe8\xff", "", PN_EUTF8);
    CHECK_STREAM(false, "\x88\x03\x03\xe8\xe2", "", PN_EUTF8);
}

static void
test_sizes_have_limits(void)
{
    /* 1000 a frame and 2000 a message: see check_stream. */
    CHECK_STREAM(false, "\x82\x7e\x03\xe9", "", PN_ETOOBIG);
    CHECK_STREAM(false, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "",
                 PN_ETOOBIG);

    uint8_t frame[4 + 1000] = {0x02, 126, 0x03, 0xe8};
    session s;
    start(&s, false, 1000, 2000);
    feed(&s, frame, sizeof frame);
    frame[0] = 0x00;
    feed(&s, frame, sizeof frame);
    CHECK_INT(s.frames, 2);
    CHECK_INT(s.status, PN_MORE);
    feed(&s, (const uint8_t *)"\x89\x01p\x00\x00", 5);
    CHECK_INT(s.frames, 4);
    feed(&s, (const uint8_t *)"\x80\x01", 2);
    CHECK_INT(s.status, PN_ETOOBIG);
    CHECK_INT(s.reader.message_size, 2000);
    CHECK_INT(s.reader.frame.length, 1);
    finish(&s);
}

static void
test_message_sizes_start_anew(void)
{
    uint8_t frame[4 + 900] = {0x82, 126, 0x03, 0x84};
    session s;
    start(&s, false, 1000, 1000);
    for (int i = 0; i < 5; i++)
        feed(&s, frame, sizeof frame);
    CHECK_INT(s.frames, 5);
    finish(&s);
}

static void
test_failing_allocator_fails_the_reader(void)
{
    session s;
    start(&s, false, 1000, 1000);
    fail_after(1);
    feed(&s,
         (const uint8_t *)"\x82\x01"
                          "a"
                          "\x82\x00"
                          "\x82\x01"
                          "b",
         8);
    CHECK_INT(s.frames, 2);
    CHECK_INT(s.status, PN_ENOMEM);
    fail_never();
    feed(&s, (const uint8_t *)"\x82\x00", 2);
    CHECK_INT(s.status, PN_ENOMEM);
    finish(&s);
}

/* One frame of a random stream: mostly right, now and then not. */
static size_t
random_frame(test_random *random, uint8_t *out, bool masked)
{
    static const uint8_t opcodes[] = {0, 0, 1, 2, 8, 9, 10, 1};
    uint64_t r = test_random_next(random);
    pn_frame frame = {
        .opcode = opcodes[r & 7],
        .final = (r >> 3 & 3) != 0,
        .masked = masked,
        .length = (r >> 8) % ((r >> 5 & 7) == 0 ? 300 : 20),
        .rsv = (r >> 20) % 200 == 0,
        .key = {(uint8_t)(r >> 32), (uint8_t)(r >> 40), (uint8_t)(r >> 48), 7},
    };
    if (pn_frame_is_control(frame.opcode)) {
        frame.final = (r >> 20) % 100 != 1;
        frame.length %= 126;
    }
    size_t head = pn_frame_encode_header(out, &frame);
    size_t len = (size_t)frame.length;
    for (size_t i = 0; i < len; i++)
        out[head + i] = (uint8_t)(i % 2 == 0 ? 0xc3 : 0xa9);
    if (frame.opcode == PN_OP_CLOSE && len >= 2) {
        out[head] = 0x03;
        out[head + 1] = 0xe8;
    }
    if (masked)
        pn_mask_apply(out + head, len, frame.key, 0);
    return head + len;
}

static void
run_in_pieces(session *s, test_random *random, bool masked,
              const uint8_t *stream, size_t len, uint64_t most)
{
    start(s, masked, 250, 400);
    for (size_t at = 0, piece; at < len && s->status >= 0; at += piece) {
        piece = most == 1 ? 1 : 1 + test_random_next(random) % most;
        piece = piece < len - at ? piece : len - at;
        feed(s, stream + at, piece);
    }
}

static void
test_random_streams_do_not_depend_on_the_pieces(void)
{
    test_random random;
    test_random_init(&random);
    long ended[2] = {0};
    for (int round = 0; round < 20000; round++) {
        uint8_t stream[2000];
        size_t len = 0;
        bool masked = round % 2;
        while (len < sizeof stream - 400)
            len += random_frame(&random, stream + len, masked);
        session whole, bytes, pieces;
        start(&whole, masked, 250, 400);
        feed(&whole, stream, len);
        pn_free(whole.body);
        run_in_pieces(&bytes, &random, masked, stream, len, 1);
        pn_free(bytes.body);
        run_in_pieces(&pieces, &random, masked, stream, len, 60);
        pn_free(pieces.body);
        CHECK_INT(bytes.status, whole.status);
        CHECK_INT(pieces.status, whole.status);
        CHECK_INT(bytes.seen_len, whole.seen_len);
        CHECK_INT(pieces.seen_len, whole.seen_len);
        CHECK(memcmp(bytes.seen, whole.seen, whole.seen_len) == 0);
        CHECK(memcmp(pieces.seen, whole.seen, whole.seen_len) == 0);
        ended[whole.status < 0]++;
    }
    CHECK(ended[1] > 0);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_examples_of_the_rfc);
    RUN(test_empty_frames_are_frames);
    RUN(test_masks_must_be_as_agreed);
    RUN(test_mask_is_judged_before_the_length);
    RUN(test_caller_may_fail_the_reader);
    RUN(test_wrong_headers_are_refused_after_right_frames);
    RUN(test_fragments_come_in_order);
    RUN(test_text_fails_at_its_first_wrong_byte);
    RUN(test_text_may_be_cut_within_a_character);
    RUN(test_close_frames_carry_a_code_of_the_wire);
    RUN(test_sizes_have_limits);
    RUN(test_message_sizes_start_anew);
    RUN(test_failing_allocator_fails_the_reader);
    RUN(test_random_streams_do_not_depend_on_the_pieces);
    return 0;
}
