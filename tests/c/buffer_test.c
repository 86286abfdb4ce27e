/* The buffer against a plain array, and without memory. */
#include "check.h"

#include "base/buffer.h"
#include "base/status.h"

static bool
buffer_is_sound(const pn_buffer *buffer)
{
    return buffer->start <= buffer->end && buffer->end <= buffer->capacity &&
           (buffer->data == NULL) == (buffer->capacity == 0);
}

static void
test_zeroed_buffer_is_empty(void)
{
    pn_buffer buffer = {0};
    CHECK(buffer_is_sound(&buffer));
    CHECK_INT(pn_buffer_size(&buffer), 0);
    CHECK(pn_buffer_bytes(&buffer) == NULL);
    pn_buffer_consume(&buffer, 10);
    CHECK_INT(pn_buffer_append(&buffer, NULL, 0), PN_OK);
    CHECK_INT(pn_buffer_reserve(&buffer, 0), PN_OK);
    CHECK(buffer.data == NULL);
    pn_buffer_free(&buffer);
    CHECK_INT(live_blocks(), 0);
}

static void
test_consume_takes_at_most_all(void)
{
    pn_buffer buffer = {0};
    CHECK_INT(pn_buffer_append(&buffer, "abcdef", 6), PN_OK);
    pn_buffer_consume(&buffer, 2);
    CHECK_INT(pn_buffer_size(&buffer), 4);
    CHECK(memcmp(pn_buffer_bytes(&buffer), "cdef", 4) == 0);
    pn_buffer_consume(&buffer, SIZE_MAX);
    CHECK_INT(pn_buffer_size(&buffer), 0);
    pn_buffer_free(&buffer);
    pn_buffer_free(&buffer);
    CHECK_INT(live_blocks(), 0);
}

static void
test_reserved_room_is_writable(void)
{
    pn_buffer buffer = {0};
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        CHECK_INT(pn_buffer_reserve(&buffer, size), PN_OK);
        CHECK(buffer.capacity - buffer.end >= size);
        memset(pn_buffer_tail(&buffer), 1, size);
        buffer.end += size;
        pn_buffer_consume(&buffer, size / 2);
    }
    pn_buffer_free(&buffer);
    CHECK_INT(live_blocks(), 0);
}

static void
test_absurd_size_is_refused(void)
{
    pn_buffer buffer = {0};
    CHECK_INT(pn_buffer_reserve(&buffer, SIZE_MAX), PN_ENOMEM);
    CHECK_INT(pn_buffer_append(&buffer, "abc", 3), PN_OK);
    CHECK_INT(pn_buffer_reserve(&buffer, SIZE_MAX), PN_ENOMEM);
    CHECK_INT(pn_buffer_reserve(&buffer, SIZE_MAX - 2), PN_ENOMEM);
    CHECK_INT(pn_buffer_size(&buffer), 3);
    pn_buffer_free(&buffer);
}

static void
test_without_memory_nothing_changes(void)
{
    pn_buffer buffer = {0};
    uint8_t many[1000] = {0};
    fail_after(0);
    CHECK_INT(pn_buffer_append(&buffer, many, 10), PN_ENOMEM);
    CHECK(buffer_is_sound(&buffer));
    fail_never();
    CHECK_INT(pn_buffer_append(&buffer, "abcdef", 6), PN_OK);
    pn_buffer_consume(&buffer, 1);
    pn_buffer before = buffer;
    fail_after(0);
    CHECK_INT(pn_buffer_append(&buffer, many, sizeof many), PN_ENOMEM);
    CHECK_INT(pn_buffer_reserve(&buffer, sizeof many), PN_ENOMEM);
    fail_never();
    CHECK(memcmp(&buffer, &before, sizeof buffer) == 0);
    CHECK(memcmp(pn_buffer_bytes(&buffer), "bcdef", 5) == 0);
    pn_buffer_free(&buffer);
    CHECK_INT(live_blocks(), 0);
}

/* A stream that is read as fast as it is written needs a bounded block. */
static void
test_steady_stream_does_not_grow(void)
{
    pn_buffer buffer = {0};
    uint8_t piece[100] = {0};
    for (int i = 0; i < 10000; i++) {
        CHECK_INT(pn_buffer_append(&buffer, piece, sizeof piece), PN_OK);
        if (i >= 3)
            pn_buffer_consume(&buffer, sizeof piece);
    }
    CHECK(buffer.capacity <= 2048);
    pn_buffer_free(&buffer);
}

#define MODEL_SIZE 200000

static void
test_random_schedule_agrees_with_an_array(void)
{
    static uint8_t model[MODEL_SIZE];
    size_t written = 0, read = 0;
    pn_buffer buffer = {0};
    test_random random;
    test_random_init(&random);
    while (written < MODEL_SIZE) {
        size_t size = test_random_next(&random) % 700;
        if (size > MODEL_SIZE - written)
            size = MODEL_SIZE - written;
        for (size_t i = 0; i < size; i++)
            model[written + i] = (uint8_t)test_random_next(&random);
        CHECK_INT(pn_buffer_append(&buffer, model + written, size), PN_OK);
        written += size;
        size_t taken = test_random_next(&random) % 800;
        pn_buffer_consume(&buffer, taken);
        read = taken < written - read ? read + taken : written;
        CHECK(buffer_is_sound(&buffer));
        CHECK_INT(pn_buffer_size(&buffer), written - read);
        if (written > read)
            CHECK(memcmp(pn_buffer_bytes(&buffer), model + read,
                         written - read) == 0);
    }
    pn_buffer_free(&buffer);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_zeroed_buffer_is_empty);
    RUN(test_consume_takes_at_most_all);
    RUN(test_reserved_room_is_writable);
    RUN(test_absurd_size_is_refused);
    RUN(test_without_memory_nothing_changes);
    RUN(test_steady_stream_does_not_grow);
    RUN(test_random_schedule_agrees_with_an_array);
    return 0;
}
