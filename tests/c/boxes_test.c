/* Outbox and inbox together: random messages leave in random pieces and come
 * in random pieces, directly and over a relay. Every message arrives once,
 * whole and in order, and control is never behind more than one segment. */
#include "check.h"

#include "base/status.h"
#include "mailbox/inbox.h"
#include "mailbox/outbox.h"
#include "ws/frame.h"

#define SIZE_LIMIT (200 * 1024)
#define FRAMES_LIMIT 100000

/* More of payload than this is never ahead of control: a segment. */
#define SEGMENT_LIMIT (PN_FRAME_HEADER_MAX + PN_BODY_LIMIT)

static uint8_t pattern[SIZE_LIMIT + 256];

static void
fill_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 2654435761u >> 11);
}

/* Message id has its payload from the pattern's byte id % 256 on. */
static const uint8_t *
payload_of(uint64_t id)
{
    return pattern + id % 256;
}

/* Most are small, some empty, some at the borders. */
static size_t
random_size(test_random *random)
{
    static const size_t borders[] = {
        PN_PACKED_LIMIT, PN_PACKED_LIMIT + 1, PN_CHUNK,   PN_CHUNK + 1,
        2 * PN_CHUNK,    2 * PN_CHUNK - 1,    SIZE_LIMIT, 0};
    uint64_t dice = test_random_next(random);
    if (dice % 8 == 0)
        return borders[(dice >> 8) % 8];
    return (dice >> 8) % (dice % 8 < 3 ? SIZE_LIMIT : 3000);
}

/* One end of a link. A sender counts ids up in each lane, and a receiver
 * expects them so: control has odd ids, payload has even ones. */
typedef struct {
    uint64_t source;
    uint64_t next_payload, next_control;
} lanes;

static lanes
new_lanes(uint64_t source)
{
    return (lanes){.source = source, .next_payload = 2, .next_control = 1};
}

static void
put_random(pn_outbox *outbox, lanes *from, test_random *random)
{
    bool control = test_random_next(random) % 4 == 0;
    uint64_t *id = control ? &from->next_control : &from->next_payload;
    size_t size =
        control ? test_random_next(random) % 200 : random_size(random);
    pn_envelope env = {
        .kind = control ? PN_STOP : PN_TELL,
        .source = from->source,
        .target = 5,
        .id = *id,
        .command = "command",
        .command_size = (uint16_t)(*id % 8),
        .extension = pattern,
        .extension_size = (uint16_t)(*id % 100),
    };
    pn_ref payload = pn_ref_borrowed(payload_of(*id), size);
    CHECK_INT(pn_outbox_put(outbox, &env, &payload), PN_OK);
    CHECK(pn_outbox_check(outbox));
    *id += 2;
}

static void
check_arrived(const pn_message *message, lanes *to)
{
    const pn_envelope *env = &message->env;
    bool control = pn_kind_is_control(env->kind);
    uint64_t *id = control ? &to->next_control : &to->next_payload;
    CHECK_INT(env->source, to->source);
    CHECK_INT(env->id, *id);
    CHECK_INT(env->size, message->size);
    CHECK_INT(env->command_size, *id % 8);
    CHECK_INT(env->extension_size, *id % 100);
    CHECK(memcmp(env->command, "command", *id % 8) == 0);
    CHECK(memcmp(env->extension, pattern, *id % 100) == 0);
    CHECK(memcmp(message->payload, payload_of(*id), message->size) == 0);
    *id += 2;
}

/* Move up to size bytes from outbox to inbox; returns how many there were. */
static size_t
move(pn_outbox *outbox, pn_inbox *inbox, size_t size)
{
    pn_slice slices[PN_OUTBOX_SLICES];
    size_t moved = 0;
    int count = pn_outbox_peek(outbox, slices);
    CHECK(count >= 0);
    for (int i = 0; i < count && moved < size; i++) {
        size_t left = size - moved;
        size_t part = slices[i].size < left ? slices[i].size : left;
        CHECK_INT(pn_buffer_append(&inbox->bytes, slices[i].data, part),
                  PN_OK);
        moved += part;
    }
    if (count > 0)
        pn_outbox_sent(outbox, moved);
    CHECK(pn_outbox_check(outbox));
    return moved;
}

static size_t
random_piece(test_random *random)
{
    uint64_t dice = test_random_next(random);
    return 1 + (dice >> 8) % (dice % 3 == 0 ? 20 : 80000);
}

/* Where in the stream frames of payload lay, and when control was put. */
typedef struct {
    size_t starts[FRAMES_LIMIT], ends[FRAMES_LIMIT];
    size_t frames;
    size_t moved, received;      /* bytes of the stream */
    size_t put_at[FRAMES_LIMIT]; /* by control id / 2: moved at that time */
} journal;

static journal stream;

/* Payload bytes in the stream from offset on are no more than a segment. */
static void
check_control_was_quick(uint64_t id)
{
    size_t put_at = stream.put_at[id / 2], ahead = 0;
    for (size_t i = stream.frames; i > 0; i--) {
        size_t start = stream.starts[i - 1], end = stream.ends[i - 1];
        if (end <= put_at)
            break;
        ahead += end - (start > put_at ? start : put_at);
    }
    CHECK(ahead <= SEGMENT_LIMIT);
}

static void
receive_all(pn_inbox *inbox, lanes *to)
{
    pn_part part;
    pn_message message;
    int err;
    while ((err = pn_inbox_next(inbox, &part)) == PN_OK) {
        if (pn_kind_is_control(part.env.kind)) {
            check_control_was_quick(part.env.id);
        } else {
            CHECK(stream.frames < FRAMES_LIMIT);
            stream.starts[stream.frames] = stream.received;
            stream.ends[stream.frames++] = stream.received + part.raw_size;
        }
        stream.received += part.raw_size;
        err = pn_inbox_join(inbox, &part, &message);
        CHECK(pn_inbox_check(inbox));
        if (err == PN_OK)
            check_arrived(&message, to);
        else
            CHECK_INT(err, PN_MORE);
    }
    CHECK_INT(err, PN_MORE);
}

static void
test_random_messages_arrive_once_whole_and_in_order(void)
{
    pn_outbox outbox;
    pn_inbox inbox;
    lanes from = new_lanes(1), to = new_lanes(1);
    test_random random;
    test_random_init(&random);
    pn_outbox_init(&outbox, SIZE_MAX, SIZE_MAX);
    pn_inbox_init(&inbox, SIZE_LIMIT);
    for (int put = 0; put < 3000 || !pn_outbox_empty(&outbox);) {
        if (put < 3000 && test_random_next(&random) % 3 == 0) {
            stream.put_at[from.next_control / 2] = stream.moved;
            put_random(&outbox, &from, &random);
            put++;
        } else {
            stream.moved += move(&outbox, &inbox, random_piece(&random));
        }
        if (test_random_next(&random) % 2 == 0)
            receive_all(&inbox, &to);
    }
    receive_all(&inbox, &to);
    CHECK_INT(to.next_payload, from.next_payload);
    CHECK_INT(to.next_control, from.next_control);
    CHECK_INT(stream.received, stream.moved);
    CHECK_INT(outbox.bytes, 0);
    CHECK_INT(outbox.messages, 0);
    CHECK_INT(inbox.held, 0);
    pn_outbox_free(&outbox);
    pn_inbox_free(&inbox);
    CHECK_INT(live_blocks(), 0);
}

/* Sources behind a relay: each has its link to the relay, which passes their
 * frames on over one link to the target. */
enum { SOURCES = 6 };

typedef struct {
    pn_outbox outboxes[SOURCES]; /* the sources' */
    pn_inbox inboxes[SOURCES];   /* the relay's ends of those links */
    pn_outbox onward;            /* the relay's, to the target */
    pn_inbox target;
    lanes from[SOURCES], to[SOURCES];
    bool ended[SOURCES]; /* its frames are no longer passed on */
} star;

static void
star_init(star *s)
{
    for (size_t i = 0; i < SOURCES; i++) {
        pn_outbox_init(&s->outboxes[i], SIZE_MAX, SIZE_MAX);
        pn_inbox_init(&s->inboxes[i], SIZE_LIMIT);
        s->from[i] = s->to[i] = new_lanes(i);
        s->ended[i] = false;
    }
    pn_outbox_init(&s->onward, SIZE_MAX, SIZE_MAX);
    pn_inbox_init(&s->target, SIZE_LIMIT * SOURCES);
}

static void
star_free(star *s)
{
    for (size_t i = 0; i < SOURCES; i++) {
        pn_outbox_free(&s->outboxes[i]);
        pn_inbox_free(&s->inboxes[i]);
    }
    pn_outbox_free(&s->onward);
    pn_inbox_free(&s->target);
}

static void
relay(star *s, size_t source)
{
    pn_part part;
    int err;
    while ((err = pn_inbox_next(&s->inboxes[source], &part)) == PN_OK) {
        if (!s->ended[source])
            CHECK_INT(pn_outbox_put_frame(&s->onward, part.raw, part.raw_size),
                      PN_OK);
        CHECK(pn_outbox_check(&s->onward));
    }
    CHECK_INT(err, PN_MORE);
}

/* The relay tells the target of a source's end, behind all that it sent. */
static void
end_source(star *s, size_t source)
{
    pn_envelope env = {.kind = PN_DOWN, .id = source};
    pn_ref nothing = {0};
    s->ended[source] = true;
    CHECK_INT(pn_outbox_put(&s->onward, &env, &nothing), PN_OK);
}

static void
receive_at_target(star *s)
{
    pn_part part;
    pn_message message;
    int err;
    while ((err = pn_inbox_next(&s->target, &part)) == PN_OK) {
        if (part.env.kind == PN_DOWN) {
            pn_inbox_forget(&s->target, part.env.id);
            continue;
        }
        err = pn_inbox_join(&s->target, &part, &message);
        CHECK(pn_inbox_check(&s->target));
        if (err == PN_OK)
            check_arrived(&message, &s->to[message.env.source]);
        else
            CHECK_INT(err, PN_MORE);
    }
    CHECK_INT(err, PN_MORE);
}

static void
star_step(star *s, test_random *random, bool more)
{
    size_t i = test_random_next(random) % SOURCES;
    if (more && test_random_next(random) % 3 == 0)
        put_random(&s->outboxes[i], &s->from[i], random);
    i = test_random_next(random) % SOURCES;
    (void)move(&s->outboxes[i], &s->inboxes[i], random_piece(random));
    relay(s, i);
    (void)move(&s->onward, &s->target, 3 * random_piece(random));
    receive_at_target(s);
}

static void
star_drain(star *s)
{
    for (size_t i = 0; i < SOURCES; i++) {
        while (move(&s->outboxes[i], &s->inboxes[i], 50000) > 0)
            relay(s, i);
    }
    while (move(&s->onward, &s->target, 50000) > 0)
        receive_at_target(s);
}

static void
test_sources_interleaved_by_a_relay_arrive_whole_and_in_order(void)
{
    static star s;
    test_random random;
    test_random_init(&random);
    star_init(&s);
    for (int i = 0; i < 6000; i++)
        star_step(&s, &random, true);
    star_drain(&s);
    for (size_t i = 0; i < SOURCES; i++) {
        CHECK_INT(s.to[i].next_payload, s.from[i].next_payload);
        CHECK_INT(s.to[i].next_control, s.from[i].next_control);
    }
    CHECK_INT(s.target.held, 0);
    star_free(&s);
    CHECK_INT(live_blocks(), 0);
}

static void
test_sources_that_end_in_the_midst_leave_nothing_behind(void)
{
    test_random random;
    test_random_init(&random);
    for (int round = 0; round < 10; round++) {
        static star s;
        star_init(&s);
        for (size_t i = 0; i < SOURCES; i++) {
            for (int k = 0; k < 100; k++)
                star_step(&s, &random, true);
            end_source(&s, i);
        }
        star_drain(&s);
        CHECK_INT(s.target.unfinished_count, 0);
        CHECK_INT(s.target.held, 0);
        star_free(&s);
    }
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    fill_pattern();
    RUN(test_random_messages_arrive_once_whole_and_in_order);
    RUN(test_sources_interleaved_by_a_relay_arrive_whole_and_in_order);
    RUN(test_sources_that_end_in_the_midst_leave_nothing_behind);
    return 0;
}
