/* pn_utf8_feed against every character of Unicode, a slow model written
 * after the table of RFC 3629, and itself in pieces. */
#include "check.h"

#include "base/status.h"
#include "ws/utf8.h"

#define NONE SIZE_MAX

/* The offset of the first wrong byte, or NONE; *whole tells whether the text
 * may end. One row of RFC 3629, section 4, a line. */
static size_t
model(const uint8_t *s, size_t len, bool *whole)
{
    static const struct {
        uint8_t lead[2], second[2], size;
    } rows[] = {
        {{0x00, 0x7f}, {0x80, 0xbf}, 1}, {{0xc2, 0xdf}, {0x80, 0xbf}, 2},
        {{0xe0, 0xe0}, {0xa0, 0xbf}, 3}, {{0xe1, 0xec}, {0x80, 0xbf}, 3},
        {{0xed, 0xed}, {0x80, 0x9f}, 3}, {{0xee, 0xef}, {0x80, 0xbf}, 3},
        {{0xf0, 0xf0}, {0x90, 0xbf}, 4}, {{0xf1, 0xf3}, {0x80, 0xbf}, 4},
        {{0xf4, 0xf4}, {0x80, 0x8f}, 4},
    };
    *whole = true;
    for (size_t at = 0; at < len;) {
        size_t row = 0;
        while (row < 9 &&
               (s[at] < rows[row].lead[0] || s[at] > rows[row].lead[1]))
            row++;
        if (row == 9)
            return at;
        for (size_t i = 1; i < rows[row].size; i++) {
            if (at + i == len) {
                *whole = false;
                return NONE;
            }
            uint8_t low = i == 1 ? rows[row].second[0] : 0x80;
            uint8_t high = i == 1 ? rows[row].second[1] : 0xbf;
            if (s[at + i] < low || s[at + i] > high)
                return at + i;
        }
        at += rows[row].size;
    }
    return NONE;
}

static void
check_at_level(pn_simd level, const uint8_t *s, size_t len)
{
    bool whole;
    size_t wanted = model(s, len, &whole), bad = NONE;
    pn_utf8 utf8 = {0};
    int err = pn_utf8_feed_with(level, &utf8, s, len, &bad);
    CHECK_INT(err, wanted == NONE ? PN_OK : PN_EUTF8);
    CHECK_INT(bad, wanted);
    if (err == PN_OK)
        CHECK_INT(pn_utf8_is_whole(&utf8), whole);
}

static void
check_text(const uint8_t *s, size_t len)
{
    for (pn_simd level = PN_SIMD_NONE; level <= pn_simd_best(); level++)
        check_at_level(level, s, len);
}

static size_t
put_character(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(0xf00 >> size | c);
    return size;
}

static void
test_every_character_is_right_and_no_surrogate(void)
{
    uint8_t text[4];
    for (uint32_t c = 0; c < 0x120000; c++) {
        size_t size = put_character(text, c), bad = NONE;
        pn_utf8 utf8 = {0};
        int err = pn_utf8_feed(&utf8, text, size, &bad);
        bool right = c < 0xd800 || (c > 0xdfff && c < 0x110000);
        CHECK_INT(err, right ? PN_OK : PN_EUTF8);
        CHECK_INT(bad, right ? NONE : 1);
    }
}

/* Pairs and triples of bytes at each border of the tables, placed at every
 * offset around the seams of the vectors. */
static void
test_borders_of_the_tables_at_every_offset(void)
{
    static const uint8_t borders[] = {
        0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
        0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
    };
    const size_t n = sizeof borders;
    uint8_t text[200];
    for (size_t i = 0; i < n * n * n; i++) {
        for (size_t at = 55; at < 68; at += 1 + i % 3) {
            memset(text, 'a', sizeof text);
            text[at] = borders[i % n];
            text[at + 1] = borders[i / n % n];
            text[at + 2] = borders[i / n / n];
            check_text(text, 130);
            text[at + 3] = 0x80;
            check_text(text, 130);
            check_text(text, at + 2);
        }
    }
}

/* Characters of all sizes, long runs of one size among them. */
static size_t
random_text(test_random *random, uint8_t *out, size_t room)
{
    size_t len = 0;
    unsigned bits = 7;
    while (len + 4 <= room) {
        if (test_random_next(random) % 8 == 0)
            bits = 7 + (unsigned)(test_random_next(random) % 15);
        uint32_t c = (uint32_t)(test_random_next(random) >> (64 - bits));
        if (c >= 0x110000 || (c >= 0xd800 && c < 0xe000))
            continue;
        len += put_character(out + len, c);
    }
    return len;
}

static void
test_random_damage_is_found_where_it_is(void)
{
    test_random random;
    test_random_init(&random);
    uint8_t text[700];
    for (int round = 0; round < 20000; round++) {
        size_t room = 4 + test_random_next(&random) % (sizeof text - 4);
        size_t len = random_text(&random, text, room);
        check_text(text, len);
        for (int i = 0; i < 3; i++) {
            uint64_t r = test_random_next(&random);
            text[(r >> 8) % len] ^= (uint8_t)(1u << (r & 7));
            check_text(text, len);
        }
    }
}

static void
test_pieces_give_what_the_whole_gives(void)
{
    test_random random;
    test_random_init(&random);
    uint8_t text[500];
    for (int round = 0; round < 20000; round++) {
        size_t len = random_text(&random, text, sizeof text);
        if (round % 2)
            text[test_random_next(&random) % len] ^= 0x40;
        bool whole;
        size_t wanted = model(text, len, &whole), got = NONE;
        pn_utf8 utf8 = {0};
        uint64_t most = 1 + test_random_next(&random) % 150;
        for (size_t at = 0, piece; at < len && got == NONE; at += piece) {
            piece = 1 + test_random_next(&random) % most;
            piece = piece < len - at ? piece : len - at;
            size_t bad;
            if (pn_utf8_feed(&utf8, text + at, piece, &bad) != PN_OK)
                got = at + bad;
        }
        CHECK_INT(got, wanted);
        if (got == NONE)
            CHECK_INT(pn_utf8_is_whole(&utf8), whole);
    }
}

static void
test_tail_is_the_character_cut_short(void)
{
    uint8_t text[8] = {'a'};
    static const uint32_t characters[] = {'b', 0xe9, 0x20ac, 0x1f600};
    CHECK_INT(pn_utf8_tail(text, 0), 0);
    for (size_t i = 0; i < 4; i++) {
        size_t size = put_character(text + 1, characters[i]);
        for (size_t cut = 0; cut < size; cut++)
            CHECK_INT(pn_utf8_tail(text, 1 + cut), cut);
        CHECK_INT(pn_utf8_tail(text, 1 + size), 0);
        CHECK_INT(pn_utf8_tail(text + 1, size), 0);
    }
}

int
main(void)
{
    RUN(test_every_character_is_right_and_no_surrogate);
    RUN(test_borders_of_the_tables_at_every_offset);
    RUN(test_random_damage_is_found_where_it_is);
    RUN(test_pieces_give_what_the_whole_gives);
    RUN(test_tail_is_the_character_cut_short);
    return 0;
}
