/* Extensions: what is encoded decodes to the same, and what no correct peer
 * sends is refused. */
#include "check.h"

#include "base/status.h"
#include "mailbox/envelope.h"
#include "mailbox/extension.h"

enum {
    DEADLINE = 1,
    CHAIN,
    WINDOW,
    DESCRIPTOR,
    SEGMENT,
    BUFFERS,
    BAGGAGE,
    ENCODING,
    OVERDUE
};

static uint8_t bytes[2 * PN_EXTENSION_LIMIT]; /* an extension, encoded */

static size_t
encode(const pn_extension *ext)
{
    size_t size = pn_extension_size(ext);
    CHECK(size <= PN_EXTENSION_LIMIT);
    memset(bytes, 0xee, sizeof bytes);
    pn_extension_encode(ext, bytes);
    CHECK_INT(bytes[size], 0xee);
    return size;
}

static void
check_same(const pn_extension *a, const pn_extension *b)
{
    CHECK_INT(a->deadline, b->deadline);
    CHECK_INT(a->window, b->window);
    CHECK_INT(a->descriptor, b->descriptor);
    CHECK_INT(a->encoding, b->encoding);
    CHECK_INT(a->overdue, b->overdue);
    CHECK_INT(a->segment, b->segment);
    CHECK_INT(a->segment_size, b->segment_size);
    CHECK_INT(a->segment_used, b->segment_used);
    CHECK_INT(a->chain_count, b->chain_count);
    CHECK_INT(a->buffers_count, b->buffers_count);
    CHECK_INT(a->baggage_size, b->baggage_size);
    for (size_t i = 0; i < a->chain_count; i++)
        CHECK_INT(pn_extension_number(a->chain, i),
                  pn_extension_number(b->chain, i));
    for (size_t i = 0; i < a->buffers_count; i++)
        CHECK_INT(pn_extension_number(a->buffers, i),
                  pn_extension_number(b->buffers, i));
    CHECK(a->baggage_size == 0 ||
          memcmp(a->baggage, b->baggage, a->baggage_size) == 0);
}

/* Decode the first size bytes, in a block of their own, so that a read beyond
 * their end shows. What *out points to is not to be looked at. */
static int
decode(pn_extension *out, size_t size)
{
    uint8_t *exact = malloc(size + 1);
    memcpy(exact + 1, bytes, size);
    *out = (pn_extension){.window = 4711};
    int err = pn_extension_decode(out, exact + 1, size);
    free(exact);
    CHECK(err == PN_OK || (err == PN_EPROTO && out->window == 4711));
    return err;
}

/* A field at *size; what is in it, a run of the same number. */
static void
add_field(size_t *size, uint8_t tag, uint64_t number, size_t len)
{
    uint8_t *out = bytes + *size;
    out[0] = tag;
    out[1] = 0;
    out[2] = (uint8_t)len;
    out[3] = (uint8_t)(len >> 8);
    for (size_t i = 0; i < len / 8; i++)
        (void)pn_extension_append(out + 4, i, number);
    memset(out + 4 + len / 8 * 8, 0, len % 8);
    *size += 4 + len;
}

static int
decode_field(uint8_t tag, uint64_t number, size_t len)
{
    pn_extension out;
    size_t size = 0;
    add_field(&size, tag, number, len);
    return decode(&out, size);
}

static void
test_bytes_lie_where_the_protocol_says(void)
{
    static const uint8_t wanted[] = {
        1,    0,   8,   0, 2, 1, 0, 0, 0, 0, 0, 0x80,          /* deadline */
        2,    0,   16,  0, 5, 0, 0, 0, 0, 0, 0, 0,             /* chain */
        6,    0,   0,   0, 0, 0, 0, 0,                         /* its second */
        3,    0,   8,   0, 7, 0, 0, 0, 0, 0, 0, 0,             /* window */
        4,    0,   8,   0, 8, 0, 0, 0, 0, 0, 0, 0,             /* descriptor */
        5,    0,   24,  0, 9, 0, 0, 0, 0, 0, 0, 0,             /* segment */
        0,    16,  0,   0, 0, 0, 0, 0,                         /* its size */
        0xff, 0,   0,   0, 0, 0, 0, 0,                         /* used of it */
        6,    0,   8,   0, 3, 2, 1, 0, 0, 0, 0, 0,             /* buffers */
        7,    0,   3,   0,                                     /* baggage */
        'b',  'a', 'g', 8, 0, 8, 0, 1, 0, 0, 0, 0,    0, 0, 0, /* encoding */
        9,    0,   8,   0, 1, 0, 0, 0, 0, 0, 0, 0,             /* overdue */
    };
    uint8_t chain[16], buffers[8];
    CHECK_INT(pn_extension_append(chain, 0, 5), 1);
    CHECK_INT(pn_extension_append(chain, 1, 6), 2);
    CHECK_INT(pn_extension_append(buffers, 0, 0x010203), 1);
    pn_extension ext = {
        .deadline = INT64_MIN + 0x0102,
        .window = 7,
        .descriptor = 8,
        .encoding = 1,
        .overdue = 1,
        .segment = 9,
        .segment_size = 4096,
        .segment_used = 255,
        .chain = chain,
        .chain_count = 2,
        .buffers = buffers,
        .buffers_count = 1,
        .baggage = (const uint8_t *)"bag",
        .baggage_size = 3,
    };
    pn_extension back;
    CHECK_INT(encode(&ext), sizeof wanted);
    CHECK(memcmp(bytes, wanted, sizeof wanted) == 0);
    CHECK_INT(pn_extension_decode(&back, bytes, sizeof wanted), PN_OK);
    check_same(&back, &ext);
}

static void
test_nothing_said_is_no_bytes(void)
{
    pn_extension nothing = {0}, out = {.window = 5};
    CHECK_INT(encode(&nothing), 0);
    CHECK_INT(pn_extension_decode(&out, NULL, 0), PN_OK);
    check_same(&out, &nothing);
    /* Sizes of no segment say nothing. */
    pn_extension sizes = {.segment_size = 4096, .segment_used = 4096};
    CHECK_INT(encode(&sizes), 0);
}

static void
test_longest_extension_fits_into_an_envelope(void)
{
    static uint8_t array[8 * PN_BUFFERS_LIMIT], bag[PN_BAGGAGE_LIMIT];
    pn_extension back, ext = {
                           .deadline = INT64_MAX,
                           .window = UINT64_MAX,
                           .descriptor = UINT64_MAX,
                           .segment = UINT64_MAX,
                           .segment_size = UINT64_MAX,
                           .segment_used = UINT64_MAX,
                           .chain = array,
                           .chain_count = PN_CHAIN_LIMIT,
                           .buffers = array,
                           .buffers_count = PN_BUFFERS_LIMIT,
                           .baggage = bag,
                           .baggage_size = PN_BAGGAGE_LIMIT,
                           .encoding = UINT64_MAX,
                           .overdue = UINT64_MAX,
                       };
    size_t size = encode(&ext); /* checks the limit */
    CHECK_INT(pn_extension_decode(&back, bytes, size), PN_OK);
    check_same(&back, &ext);
}

static void
test_long_chain_keeps_its_last_actors(void)
{
    uint8_t chain[8 * (PN_CHAIN_LIMIT + 5)];
    size_t count = 0;
    while (count < PN_CHAIN_LIMIT + 5)
        count = pn_extension_append(chain, count, 100 + count);
    pn_extension back, ext = {.chain = chain, .chain_count = count};
    CHECK_INT(pn_extension_decode(&back, bytes, encode(&ext)), PN_OK);
    CHECK_INT(back.chain_count, PN_CHAIN_LIMIT);
    for (size_t i = 0; i < PN_CHAIN_LIMIT; i++)
        CHECK_INT(pn_extension_number(back.chain, i), 105 + i);
}

static void
test_cut_short_is_refused(void)
{
    pn_extension out, ext = {.deadline = 1,
                             .window = 2,
                             .baggage = (const uint8_t *)"bag",
                             .baggage_size = 3};
    size_t size = encode(&ext), whole = 0;
    for (size_t len = 0; len <= size; len++)
        whole += decode(&out, len) == PN_OK;
    CHECK_INT(whole, 4); /* empty, and behind each field */
    CHECK_INT(decode(&out, size), PN_OK);
}

static void
test_fields_of_wrong_sizes_are_refused(void)
{
    static const uint8_t numbers[] = {DEADLINE, WINDOW, DESCRIPTOR};
    for (size_t len = 0; len < 2 * PN_BAGGAGE_LIMIT; len++) {
        bool numbers_fit = len > 0 && len % 8 == 0;
        for (size_t i = 0; i < sizeof numbers; i++)
            CHECK((decode_field(numbers[i], 1, len) == PN_OK) == (len == 8));
        CHECK((decode_field(SEGMENT, 1, len) == PN_OK) == (len == 24));
        CHECK((decode_field(CHAIN, 1, len) == PN_OK) ==
              (numbers_fit && len <= 8 * PN_CHAIN_LIMIT));
        CHECK((decode_field(BUFFERS, 1, len) == PN_OK) ==
              (numbers_fit && len <= 8 * PN_BUFFERS_LIMIT));
        CHECK((decode_field(BAGGAGE, 1, len) == PN_OK) ==
              (len > 0 && len <= PN_BAGGAGE_LIMIT));
    }
}

static void
test_zero_is_refused_where_it_says_nothing(void)
{
    CHECK_INT(decode_field(DEADLINE, 0, 8), PN_EPROTO);
    CHECK_INT(decode_field(WINDOW, 0, 8), PN_EPROTO);
    CHECK_INT(decode_field(DESCRIPTOR, 0, 8), PN_EPROTO);
    CHECK_INT(decode_field(SEGMENT, 0, 24), PN_EPROTO);
    CHECK_INT(decode_field(CHAIN, 0, 8), PN_OK);
    CHECK_INT(decode_field(BUFFERS, 0, 8), PN_OK); /* an empty buffer */
}

static void
test_more_used_than_the_segment_has_is_refused(void)
{
    pn_extension out, ext = {.segment = 1, .segment_size = 10};
    for (ext.segment_used = 0; ext.segment_used < 20; ext.segment_used++)
        CHECK_INT(decode(&out, encode(&ext)),
                  ext.segment_used <= 10 ? PN_OK : PN_EPROTO);
    ext.segment_used = UINT64_MAX;
    CHECK_INT(decode(&out, encode(&ext)), PN_EPROTO);
}

static void
test_known_field_comes_once_an_unknown_one_is_skipped(void)
{
    for (unsigned tag = 0; tag < 256; tag++) {
        pn_extension out;
        size_t size = 0, len = tag == SEGMENT ? 24 : 8;
        bool known = tag >= DEADLINE && tag <= OVERDUE;
        add_field(&size, (uint8_t)tag, 1, len);
        CHECK_INT(decode(&out, size), PN_OK);
        add_field(&size, tag == WINDOW ? DEADLINE : WINDOW, 6, 8);
        CHECK_INT(decode(&out, size), PN_OK);
        CHECK_INT(out.window, tag == WINDOW ? 1 : 6);
        add_field(&size, (uint8_t)tag, 1, len);
        CHECK_INT(decode(&out, size), known ? PN_EPROTO : PN_OK);
        bytes[1] = 1; /* where there is always 0 */
        CHECK_INT(decode(&out, 4 + len), PN_EPROTO);
    }
}

static void
random_bytes(test_random *random, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)test_random_next(random);
}

/* Half of all numbers are 0: not said. */
static uint64_t
random_number(test_random *random)
{
    uint64_t number = test_random_next(random);
    return number % 2 == 0 ? 0 : number >> test_random_next(random) % 64;
}

static void
test_random_extensions_survive_the_round_trip(void)
{
    static uint8_t chain[8 * PN_CHAIN_LIMIT], buffers[8 * PN_BUFFERS_LIMIT];
    static uint8_t bag[PN_BAGGAGE_LIMIT];
    test_random random;
    test_random_init(&random);
    random_bytes(&random, chain, sizeof chain);
    random_bytes(&random, buffers, sizeof buffers);
    random_bytes(&random, bag, sizeof bag);
    for (int i = 0; i < 20000; i++) {
        pn_extension back,
            ext = {
                .deadline = (int64_t)random_number(&random),
                .window = random_number(&random),
                .descriptor = random_number(&random),
                .encoding = random_number(&random),
                .overdue = random_number(&random),
                .segment = random_number(&random),
                .chain = chain,
                .chain_count = random_number(&random) % (PN_CHAIN_LIMIT + 1),
                .buffers = buffers,
                .buffers_count =
                    random_number(&random) % (PN_BUFFERS_LIMIT + 1),
                .baggage = bag,
                .baggage_size =
                    random_number(&random) % (PN_BAGGAGE_LIMIT + 1),
            };
        if (ext.segment != 0) {
            ext.segment_size = test_random_next(&random) | 1;
            ext.segment_used = test_random_next(&random) % ext.segment_size;
        }
        CHECK_INT(pn_extension_decode(&back, bytes, encode(&ext)), PN_OK);
        check_same(&back, &ext);
    }
}

/* Well-formed fields of random tags and sizes, and then some damage. */
static void
test_random_bytes_are_judged_without_harm(void)
{
    test_random random;
    test_random_init(&random);
    size_t right = 0;
    for (int i = 0; i < 100000; i++) {
        pn_extension out;
        size_t size = 0;
        while (size < 100 && test_random_next(&random) % 4 != 0)
            add_field(&size, (uint8_t)(test_random_next(&random) % 9),
                      test_random_next(&random) % 3,
                      test_random_next(&random) % 4 * 8);
        if (size > 0 && test_random_next(&random) % 2 == 0)
            bytes[test_random_next(&random) % size] ^=
                (uint8_t)(1u << test_random_next(&random) % 8);
        right += decode(&out, size) == PN_OK;
    }
    CHECK(right > 1000 && right < 99000);
}

int
main(void)
{
    RUN(test_bytes_lie_where_the_protocol_says);
    RUN(test_nothing_said_is_no_bytes);
    RUN(test_longest_extension_fits_into_an_envelope);
    RUN(test_long_chain_keeps_its_last_actors);
    RUN(test_cut_short_is_refused);
    RUN(test_fields_of_wrong_sizes_are_refused);
    RUN(test_zero_is_refused_where_it_says_nothing);
    RUN(test_more_used_than_the_segment_has_is_refused);
    RUN(test_known_field_comes_once_an_unknown_one_is_skipped);
    RUN(test_random_extensions_survive_the_round_trip);
    RUN(test_random_bytes_are_judged_without_harm);
    return 0;
}
