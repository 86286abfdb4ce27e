/* Oracle: every version of the validator finds the same first wrong byte, in
 * the whole as byte by byte; and what is right, made an array of code points,
 * encodes to the same bytes. */
#include "base/alloc.h"
#include "base/status.h"
#include "ws/text.h"
#include "ws/utf8.h"

#undef NDEBUG /* the oracle speaks in every build */
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The offset of the first wrong byte; size if there is none. */
static size_t
first_wrong(pn_simd level, const uint8_t *data, size_t size, size_t piece,
            bool *whole)
{
    pn_utf8 utf8 = {0};
    for (size_t at = 0; at < size; at += piece) {
        size_t bad = 0, now = piece < size - at ? piece : size - at;
        if (pn_utf8_feed_with(level, &utf8, data + at, now, &bad) < 0) {
            assert(bad < now);
            return at + bad;
        }
    }
    *whole = pn_utf8_is_whole(&utf8);
    assert(*whole == (pn_utf8_tail(data, size) == 0));
    return size;
}

static size_t
encode(uint8_t *out, uint32_t c)
{
    size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    out[0] = (uint8_t)c;
    if (size == 1)
        return 1;
    for (size_t i = size - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(0xf00 >> size | c);
    return size;
}

static void
check_round_trip(const uint8_t *data, size_t size)
{
    pn_text_size text = pn_text_measure(data, size);
    uint32_t *ucs4 = pn_alloc(4 * text.count + 4);
    uint16_t *ucs2 = pn_alloc(2 * text.count + 2);
    uint8_t *latin1 = pn_alloc(text.count + 1);
    assert(ucs4 != NULL && ucs2 != NULL && latin1 != NULL);
    pn_text_to_ucs4(ucs4, data, size);
    if (text.highest <= 0xffff)
        pn_text_to_ucs2(ucs2, data, size);
    if (text.highest <= 0xff)
        pn_text_to_latin1(latin1, data, size);
    for (size_t i = 0, at = 0; i < text.count; i++) {
        uint8_t bytes[4];
        size_t len = encode(bytes, ucs4[i]);
        assert(len <= size - at && memcmp(bytes, data + at, len) == 0);
        at += len;
        assert(ucs4[i] <= text.highest);
        assert(text.highest > 0xffff || ucs2[i] == ucs4[i]);
        assert(text.highest > 0xff || latin1[i] == ucs4[i]);
    }
    pn_free(ucs4);
    pn_free(ucs2);
    pn_free(latin1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool whole = false, again = false;
    size_t wrong = first_wrong(PN_SIMD_NONE, data, size, 1, &whole);
    for (pn_simd level = PN_SIMD_NONE; level <= pn_simd_best(); level++) {
        for (size_t piece = 1; piece <= size; piece = piece * 3 + 1) {
            assert(first_wrong(level, data, size, piece, &again) == wrong);
            assert(wrong < size || again == whole);
        }
        assert(first_wrong(level, data, size, SIZE_MAX, &again) == wrong);
    }
    if (wrong == size && whole)
        check_round_trip(data, size);
    return 0;
}
