/* The outbox: what goes in comes out once, in frames that are never torn. */
#include "check.h"

#include "base/status.h"
#include "mailbox/outbox.h"
#include "ws/frame.h"

static uint8_t pattern[256 * 1024];

static void
fill_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 2654435761u >> 11);
}

/* A payload that counts its releases. */
static void
count_release(void *owner)
{
    ++*(int *)owner;
}

static pn_ref
counted(size_t size, int *releases)
{
    return (pn_ref){pattern, size, releases, count_release};
}

static int
put(pn_outbox *outbox, uint8_t kind, uint64_t id, size_t size)
{
    pn_envelope env = {
        .kind = kind, .id = id, .command_size = 3, .command = "run"};
    pn_ref payload = pn_ref_borrowed(pattern, size);
    int err = pn_outbox_put(outbox, &env, &payload);
    CHECK(pn_outbox_check(outbox));
    return err;
}

/* Take at most size bytes out; returns how many there were. */
static size_t
take(pn_outbox *outbox, uint8_t *to, size_t size)
{
    pn_slice slices[PN_OUTBOX_SLICES];
    size_t taken = 0;
    int count = pn_outbox_peek(outbox, slices);
    CHECK(count >= 0 && count <= PN_OUTBOX_SLICES);
    for (int i = 0; i < count && taken < size; i++) {
        size_t left = size - taken;
        size_t part = slices[i].size < left ? slices[i].size : left;
        CHECK(slices[i].size > 0);
        memcpy(to + taken, slices[i].data, part);
        taken += part;
    }
    if (count > 0)
        pn_outbox_sent(outbox, taken);
    CHECK(pn_outbox_check(outbox));
    return taken;
}

static size_t
take_all(pn_outbox *outbox, uint8_t *to, size_t room)
{
    size_t taken = 0, now;
    while ((now = take(outbox, to + taken, room - taken)) > 0)
        taken += now;
    CHECK(pn_outbox_empty(outbox));
    return taken;
}

/* The envelope and payload size of the frame at bytes; returns its length. */
static size_t
read_frame(const uint8_t *bytes, size_t size, pn_envelope *env,
           size_t *payload)
{
    pn_frame frame;
    CHECK_INT(pn_frame_decode(&frame, bytes, size), PN_OK);
    CHECK(frame.final && !frame.masked && frame.opcode == PN_OP_BINARY);
    size_t length = (size_t)frame.length;
    CHECK(length <= size - frame.header_size);
    CHECK_INT(pn_envelope_decode(env, bytes + frame.header_size, length),
              PN_OK);
    *payload = length - pn_envelope_size(env);
    return frame.header_size + length;
}

static uint8_t taken[1024 * 1024];

static void
test_new_outbox_has_nothing_to_send(void)
{
    pn_outbox outbox;
    pn_slice slices[PN_OUTBOX_SLICES];
    pn_outbox_init(&outbox, 10, 1000);
    CHECK(pn_outbox_empty(&outbox));
    CHECK(!pn_outbox_full(&outbox));
    CHECK_INT(pn_outbox_peek(&outbox, slices), 0);
    pn_outbox_free(&outbox);
    pn_outbox_free(&outbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_small_messages_leave_together(void)
{
    pn_outbox outbox;
    pn_slice slices[PN_OUTBOX_SLICES];
    pn_outbox_init(&outbox, 1000, 1 << 20);
    for (uint64_t id = 1; id <= 100; id++)
        CHECK_INT(put(&outbox, PN_TELL, id, 10), PN_OK);
    CHECK_INT(outbox.messages, 100);
    CHECK_INT(pn_outbox_peek(&outbox, slices), 1);
    CHECK_INT(slices[0].size, 100 * (2 + PN_ENVELOPE_SIZE + 3 + 10));
    pn_outbox_sent(&outbox, slices[0].size);
    CHECK(pn_outbox_empty(&outbox));
    CHECK_INT(outbox.messages, 0);
    CHECK_INT(outbox.bytes, 0);
    pn_outbox_free(&outbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_large_message_leaves_in_chunks_with_its_texts_in_the_first(void)
{
    pn_outbox outbox;
    pn_outbox_init(&outbox, 10, 1 << 20);
    pn_envelope env = {.kind = PN_ASK,
                       .named = true,
                       .id = 5,
                       .command = "run",
                       .command_size = 3,
                       .name = "bob",
                       .name_size = 3,
                       .extension = (const uint8_t *)"x",
                       .extension_size = 1};
    pn_ref payload = pn_ref_borrowed(pattern, 2 * PN_CHUNK + 7);
    CHECK_INT(pn_outbox_put(&outbox, &env, &payload), PN_OK);
    size_t size = take_all(&outbox, taken, sizeof taken), at = 0, got;
    for (size_t chunk = 0; chunk < 3; chunk++) {
        pn_envelope out;
        at += read_frame(taken + at, size - at, &out, &got);
        CHECK_INT(got, chunk < 2 ? PN_CHUNK : 7);
        CHECK_INT(out.offset, chunk * PN_CHUNK);
        CHECK_INT(out.size, 2 * PN_CHUNK + 7);
        CHECK_INT(out.command_size, chunk == 0 ? 3 : 0);
        CHECK_INT(out.extension_size, chunk == 0 ? 1 : 0);
        CHECK(out.named && out.name_size == 3);
        CHECK(memcmp(out.name, "bob", 3) == 0);
        CHECK(memcmp(taken + at - got, pattern + out.offset, got) == 0);
    }
    CHECK_INT(at, size);
    pn_outbox_free(&outbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_payload_is_released_once_when_it_has_left(void)
{
    static const size_t sizes[] = {0, 1, PN_PACKED_LIMIT, PN_PACKED_LIMIT + 1,
                                   100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pn_outbox outbox;
        pn_envelope env = {.kind = PN_TELL};
        int releases = 0;
        pn_ref payload = counted(sizes[i], &releases);
        pn_outbox_init(&outbox, 10, 1 << 20);
        CHECK_INT(pn_outbox_put(&outbox, &env, &payload), PN_OK);
        CHECK(payload.release == NULL && payload.data == NULL);
        CHECK_INT(releases, sizes[i] <= PN_PACKED_LIMIT);
        (void)take_all(&outbox, taken, sizeof taken);
        CHECK_INT(releases, 1);
        pn_outbox_free(&outbox);
        CHECK_INT(releases, 1);
    }
    CHECK_INT(live_blocks(), 0);
}

static void
test_free_releases_what_did_not_leave(void)
{
    pn_outbox outbox;
    pn_envelope env = {.kind = PN_TELL};
    int releases = 0;
    pn_outbox_init(&outbox, 10, 1 << 20);
    for (int i = 0; i < 3; i++) {
        pn_ref payload = counted(50000, &releases);
        CHECK_INT(pn_outbox_put(&outbox, &env, &payload), PN_OK);
    }
    (void)take(&outbox, taken, 40000);
    CHECK_INT(releases, 0);
    pn_outbox_free(&outbox);
    CHECK_INT(releases, 3);
    CHECK(pn_outbox_empty(&outbox) && outbox.messages == 0);
    CHECK_INT(live_blocks(), 0);
}

/* The release of a payload may run anything, such as another put. */
static void
put_more(void *owner)
{
    CHECK_INT(put(owner, PN_TELL, 99, 10), PN_OK);
}

static void
test_release_may_put_into_the_outbox(void)
{
    static const size_t sizes[] = {10, PN_PACKED_LIMIT + 1};
    for (size_t i = 0; i < 2; i++) {
        pn_outbox outbox;
        pn_envelope env = {.kind = PN_TELL};
        pn_ref payload = {pattern, sizes[i], &outbox, put_more};
        pn_outbox_init(&outbox, 10, 1 << 20);
        CHECK_INT(pn_outbox_put(&outbox, &env, &payload), PN_OK);
        CHECK(pn_outbox_check(&outbox));
        size_t size = take_all(&outbox, taken, sizeof taken);
        CHECK_INT(outbox.messages, 0);
        CHECK(size > 2 * PN_ENVELOPE_SIZE + sizes[i] + 10);
        payload = (pn_ref){pattern, sizes[i], &outbox, put_more};
        CHECK_INT(pn_outbox_put(&outbox, &env, &payload), PN_OK);
        pn_outbox_free(&outbox);
        CHECK(pn_outbox_check(&outbox));
        pn_outbox_free(&outbox); /* of what the release has put */
        CHECK_INT(live_blocks(), 0);
    }
}

static void
test_control_overtakes_at_the_end_of_a_frame(void)
{
    pn_outbox outbox;
    pn_envelope env;
    size_t payload, at = 0;
    pn_outbox_init(&outbox, 10, 1 << 20);
    CHECK_INT(put(&outbox, PN_TELL, 1, 3 * PN_CHUNK), PN_OK);
    size_t size = take(&outbox, taken, 100); /* in the midst of a chunk */
    CHECK_INT(put(&outbox, PN_NOTIFY, 2, 0), PN_OK);
    size += take_all(&outbox, taken + size, sizeof taken - size);
    static const uint64_t ids[] = {1, 2, 1, 1};
    for (size_t i = 0; i < 4; i++) {
        at += read_frame(taken + at, size - at, &env, &payload);
        CHECK_INT(env.id, ids[i]);
    }
    CHECK_INT(at, size);
    pn_outbox_free(&outbox);
    CHECK_INT(live_blocks(), 0);
}

/* Put control when n bytes of a long queue have left: what leaves before it
 * is at most the segment, or chunk, that has begun. */
static void
test_control_waits_for_one_segment_at_most(void)
{
    for (size_t n = 0; n < 300000; n += 7919) {
        pn_outbox outbox;
        pn_envelope env = {.id = 0};
        size_t payload, at = 0;
        pn_outbox_init(&outbox, 1000, 1 << 20);
        for (uint64_t id = 1; id <= 60; id++)
            CHECK_INT(put(&outbox, PN_TELL, id, id % 9 == 0 ? 40000 : 5000),
                      PN_OK);
        size_t before = 0, now;
        while (before < n && (now = take(&outbox, taken + before, 7)) > 0)
            before += now;
        CHECK_INT(put(&outbox, PN_STOP, 1000, 0), PN_OK);
        size_t size =
            before + take_all(&outbox, taken + before, sizeof taken - before);
        while (env.id != 1000) {
            CHECK(at <= before + PN_CHUNK + PN_ENVELOPE_SIZE + 3 + 14);
            at += read_frame(taken + at, size - at, &env, &payload);
        }
        pn_outbox_free(&outbox);
    }
    CHECK_INT(live_blocks(), 0);
}

static void
test_full_is_told_by_messages_or_by_bytes(void)
{
    pn_outbox outbox;
    pn_outbox_init(&outbox, 3, 100000);
    for (uint64_t id = 1; id <= 3; id++) {
        CHECK(!pn_outbox_full(&outbox));
        CHECK_INT(put(&outbox, PN_TELL, id, 10), PN_OK);
    }
    CHECK(pn_outbox_full(&outbox));
    CHECK_INT(put(&outbox, PN_REPLY, 4, 10), PN_OK); /* never refused */
    (void)take_all(&outbox, taken, sizeof taken);
    CHECK(!pn_outbox_full(&outbox));
    CHECK_INT(put(&outbox, PN_TELL, 5, 100000), PN_OK);
    CHECK(pn_outbox_full(&outbox));
    (void)take(&outbox, taken, 1000);
    CHECK(!pn_outbox_full(&outbox));
    pn_outbox_free(&outbox);
    CHECK_INT(live_blocks(), 0);
}

static void
test_message_that_the_peer_would_refuse_is_not_sent(void)
{
    static const char text[PN_EXTENSION_LIMIT + 1];
    const uint8_t *bytes = (const uint8_t *)text;
    pn_envelope bad[] = {
        {.kind = PN_TELL, .command = text, .command_size = PN_TEXT_LIMIT + 1},
        {.kind = PN_TELL, .name = text, .name_size = PN_TEXT_LIMIT + 1},
        {.kind = PN_TELL,
         .extension = bytes,
         .extension_size = PN_EXTENSION_LIMIT + 1},
        {.kind = PN_NOTIFY},
    };
    pn_outbox outbox;
    pn_outbox_init(&outbox, 10, 1 << 20);
    for (size_t i = 0; i < 4; i++) {
        int releases = 0;
        pn_ref payload = counted(PN_CHUNK + 1, &releases);
        CHECK_INT(pn_outbox_put(&outbox, &bad[i], &payload), PN_ETOOBIG);
        CHECK(pn_outbox_empty(&outbox));
        CHECK(payload.release != NULL && releases == 0);
    }
    CHECK_INT(put(&outbox, PN_NOTIFY, 1, PN_CHUNK), PN_OK);
    pn_outbox_free(&outbox);
    CHECK_INT(live_blocks(), 0);
}

/* One of each way into the outbox; how many went in before memory ran out. */
static int
put_one_of_each(pn_outbox *outbox)
{
    if (put(outbox, PN_TELL, 1, 100) < 0)
        return 0;
    if (put(outbox, PN_TELL, 2, 50000) < 0)
        return 1;
    if (put(outbox, PN_NOTIFY, 3, 10) < 0)
        return 2;
    uint8_t frame[2 + PN_ENVELOPE_SIZE] = {0x82, PN_ENVELOPE_SIZE};
    pn_envelope env = {.kind = PN_TELL, .id = 4};
    pn_envelope_encode(&env, frame + 2);
    if (pn_outbox_put_frame(outbox, frame, sizeof frame) < 0)
        return 3;
    return 4;
}

/* Take all, whether or not memory runs out for a moment. */
static size_t
take_stubbornly(pn_outbox *outbox)
{
    pn_slice slices[PN_OUTBOX_SLICES];
    size_t size = 0;
    int err;
    while ((err = pn_outbox_peek(outbox, slices)) != 0) {
        if (err > 0) {
            size += take(outbox, taken + size, sizeof taken - size);
            continue;
        }
        CHECK_INT(err, PN_ENOMEM);
        fail_never();
    }
    return size;
}

static void
test_without_memory_nothing_changes(void)
{
    static const uint64_t order[] = {3, 1, 2, 2, 4};
    for (long n = 0; n < 12; n++) {
        pn_outbox outbox;
        pn_envelope env;
        size_t payload, at = 0;
        pn_outbox_init(&outbox, 10, 1 << 20);
        fail_after(n);
        int done = put_one_of_each(&outbox);
        CHECK(pn_outbox_check(&outbox));
        CHECK_INT(pn_outbox_empty(&outbox), done == 0);
        size_t size = take_stubbornly(&outbox);
        fail_never();
        for (size_t i = 0; i < 5; i++) {
            if (order[i] > (uint64_t)done)
                continue;
            at += read_frame(taken + at, size - at, &env, &payload);
            CHECK_INT(env.id, order[i]);
        }
        CHECK_INT(at, size);
        pn_outbox_free(&outbox);
        CHECK_INT(live_blocks(), 0);
        if (n == 11)
            CHECK_INT(done, 4);
    }
}

static void
test_refused_message_leaves_its_payload_with_the_caller(void)
{
    static const size_t sizes[] = {10, 50000};
    for (size_t i = 0; i < 2; i++) {
        pn_outbox outbox;
        pn_envelope env = {.kind = PN_TELL};
        int releases = 0;
        pn_ref payload = counted(sizes[i], &releases);
        pn_outbox_init(&outbox, 10, 1 << 20);
        fail_after(0);
        CHECK_INT(pn_outbox_put(&outbox, &env, &payload), PN_ENOMEM);
        fail_never();
        CHECK_INT(payload.size, sizes[i]);
        CHECK(pn_outbox_empty(&outbox));
        pn_outbox_free(&outbox);
        CHECK_INT(releases, 0);
        pn_ref_release(&payload);
        pn_ref_release(&payload);
        CHECK_INT(releases, 1);
    }
    CHECK_INT(live_blocks(), 0);
}

/* A queue that never runs dry keeps to a few blocks. */
static void
test_steady_traffic_allocates_nothing_new(void)
{
    pn_outbox outbox;
    pn_outbox_init(&outbox, 1000, 1 << 20);
    for (uint64_t id = 1; id <= 2000; id++) {
        CHECK_INT(put(&outbox, PN_TELL, id, 1000), PN_OK);
        (void)take(&outbox, taken, 1060);
        CHECK(live_blocks() <= 6);
    }
    pn_outbox_free(&outbox);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    fill_pattern();
    RUN(test_new_outbox_has_nothing_to_send);
    RUN(test_small_messages_leave_together);
    RUN(test_large_message_leaves_in_chunks_with_its_texts_in_the_first);
    RUN(test_payload_is_released_once_when_it_has_left);
    RUN(test_free_releases_what_did_not_leave);
    RUN(test_release_may_put_into_the_outbox);
    RUN(test_control_overtakes_at_the_end_of_a_frame);
    RUN(test_control_waits_for_one_segment_at_most);
    RUN(test_full_is_told_by_messages_or_by_bytes);
    RUN(test_message_that_the_peer_would_refuse_is_not_sent);
    RUN(test_without_memory_nothing_changes);
    RUN(test_refused_message_leaves_its_payload_with_the_caller);
    RUN(test_steady_traffic_allocates_nothing_new);
    return 0;
}
