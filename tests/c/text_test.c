/* pn_text_* against the code points that the text was made from. */
#include "check.h"

#include "ws/text.h"

#define MOST 400

typedef struct {
    uint32_t points[MOST];
    uint8_t utf8[4 * MOST];
    size_t count, len;
} sample;

static void
append(sample *text, uint32_t c)
{
    uint8_t *out = text->utf8 + text->len;
    size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    text->points[text->count++] = c;
    text->len += size;
    if (size == 1) {
        out[0] = (uint8_t)c;
        return;
    }
    for (size_t i = size - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(0xf00 >> size | c);
}

static uint32_t
highest_class(const sample *text)
{
    uint32_t most = 0;
    for (size_t i = 0; i < text->count; i++)
        most = text->points[i] > most ? text->points[i] : most;
    return most < 0x80      ? 0x7f
           : most < 0x100   ? 0xff
           : most < 0x10000 ? 0xffff
                            : 0x10ffff;
}

/* Each writer whose width suffices; the place behind its last code point
 * stays as it is. The input lies in a block of its own size, so that a
 * sanitizer sees reads behind it. */
static void
check_sample(const sample *text)
{
    uint8_t *utf8 = malloc(text->len + 1);
    CHECK(utf8 != NULL);
    memcpy(utf8, text->utf8, text->len);
    pn_text_size size = pn_text_measure(utf8, text->len);
    CHECK_INT(size.count, text->count);
    CHECK_INT(size.highest, highest_class(text));

    uint32_t ucs4[MOST + 1];
    uint16_t ucs2[MOST + 1];
    uint8_t latin1[MOST + 1];
    ucs4[size.count] = ucs2[size.count] = latin1[size.count] = 0x5a;
    pn_text_to_ucs4(ucs4, utf8, text->len);
    if (size.highest <= 0xffff)
        pn_text_to_ucs2(ucs2, utf8, text->len);
    if (size.highest <= 0xff)
        pn_text_to_latin1(latin1, utf8, text->len);
    for (size_t i = 0; i < size.count; i++) {
        CHECK_INT(ucs4[i], text->points[i]);
        if (size.highest <= 0xffff)
            CHECK_INT(ucs2[i], text->points[i]);
        if (size.highest <= 0xff)
            CHECK_INT(latin1[i], text->points[i]);
    }
    CHECK_INT(ucs4[size.count], 0x5a);
    CHECK_INT(ucs2[size.count], 0x5a);
    CHECK_INT(latin1[size.count], 0x5a);
    free(utf8);
}

static void
test_every_code_point(void)
{
    for (uint32_t first = 0; first < 0x110000; first += MOST) {
        sample text = {.count = 0};
        for (uint32_t c = first; c < first + MOST && c < 0x110000; c++) {
            if (c < 0xd800 || c > 0xdfff)
                append(&text, c);
        }
        check_sample(&text);
    }
}

static void
test_empty_text_has_no_characters(void)
{
    sample text = {.count = 0};
    check_sample(&text);
}

/* Runs of characters of one size, so that the vectors meet every seam. */
static void
test_random_runs(void)
{
    test_random random;
    test_random_init(&random);
    for (int round = 0; round < 50000; round++) {
        sample text = {.count = 0};
        unsigned most = 8 + (unsigned)(test_random_next(&random) % 14);
        size_t wanted = test_random_next(&random) % MOST;
        unsigned bits = 7;
        while (text.count < wanted) {
            if (test_random_next(&random) % 8 == 0)
                bits = 7 + (unsigned)(test_random_next(&random) % (most - 6));
            uint32_t c = (uint32_t)(test_random_next(&random) >> (64 - bits));
            if (c < 0xd800 || (c > 0xdfff && c < 0x110000))
                append(&text, c);
        }
        check_sample(&text);
    }
}

int
main(void)
{
    RUN(test_empty_text_has_no_characters);
    RUN(test_every_code_point);
    RUN(test_random_runs);
    return 0;
}
