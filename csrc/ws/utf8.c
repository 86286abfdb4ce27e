#include "ws/utf8.h"

#include "base/status.h"

#include <string.h>

#if PN_SIMD_X86
#include <immintrin.h>
#endif

#define VECTOR_MIN 64

/* Take a byte that starts a character. False if none starts so. */
static inline bool
start_character(pn_utf8 *utf8, uint8_t byte)
{
    utf8->low = 0x80;
    utf8->high = 0xbf;
    if (byte < 0x80) {
        utf8->need = 0;
    } else if (byte < 0xc2) {
        return false;
    } else if (byte < 0xe0) {
        utf8->need = 1;
    } else if (byte < 0xf0) {
        utf8->need = 2;
        if (byte == 0xe0)
            utf8->low = 0xa0; /* else overlong */
        else if (byte == 0xed)
            utf8->high = 0x9f; /* else a surrogate */
    } else if (byte < 0xf5) {
        utf8->need = 3;
        if (byte == 0xf0)
            utf8->low = 0x90; /* else overlong */
        else if (byte == 0xf4)
            utf8->high = 0x8f; /* else over U+10FFFF */
    } else {
        return false;
    }
    return true;
}

static inline bool
take_byte(pn_utf8 *utf8, uint8_t byte)
{
    if (utf8->need == 0)
        return start_character(utf8, byte);
    if (byte < utf8->low || byte > utf8->high)
        return false;
    utf8->need--;
    utf8->low = 0x80;
    utf8->high = 0xbf;
    return true;
}

/* The end of the ASCII that starts at buf[at], in steps of eight bytes. */
static inline size_t
skip_ascii(const uint8_t *buf, size_t at, size_t len)
{
    while (len - at >= 8) {
        uint64_t word;
        memcpy(&word, buf + at, 8);
        if ((word & 0x8080808080808080u) != 0)
            break;
        at += 8;
    }
    return at;
}

static int
feed_bytes(pn_utf8 *utf8, const uint8_t *buf, size_t at, size_t len,
           size_t *bad)
{
    for (; at < len; at++) {
        if (utf8->need == 0) {
            at = skip_ascii(buf, at, len);
            if (at == len)
                break;
        }
        if (!take_byte(utf8, buf[at])) {
            *bad = at;
            return PN_EUTF8;
        }
    }
    return PN_OK;
}

size_t
pn_utf8_tail(const uint8_t *buf, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        uint8_t byte = buf[len - back];
        if (byte >= 0xc0) {
            size_t size = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
            return back < size ? back : 0;
        }
        if (byte < 0x80)
            break;
    }
    return 0;
}

#if PN_SIMD_X86

/* The method of J. Keiser and D. Lemire, "Validating UTF-8 in less than one
 * instruction per byte" (2021): three table look-ups by nibbles of a byte and
 * the one before it name every wrong pair; where two continuation bytes
 * follow each other is compared with where a long character demands it. */
enum {
    TOO_SHORT = 1 << 0,  /* lead, then no continuation */
    TOO_LONG = 1 << 1,   /* ASCII, then a continuation */
    OVERLONG_3 = 1 << 2, /* e0, then 80 to 9f */
    TOO_LARGE = 1 << 3,  /* f4, then 90 or more; f5 and more */
    SURROGATE = 1 << 4,  /* ed, then a0 or more */
    OVERLONG_2 = 1 << 5, /* c0 or c1 */
    EDGE_4 = 1 << 6,     /* f0, then 80 to 8f; f5 and more, the same */
    TWO_CONTINUE = 1 << 7,
    ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTINUE,
    OVER_F4 = ANY_LOW | TOO_LARGE | EDGE_4,
    AFTER_8 = TOO_LONG | OVERLONG_2 | TWO_CONTINUE | OVERLONG_3 | EDGE_4,
    AFTER_9 = TOO_LONG | OVERLONG_2 | TWO_CONTINUE | OVERLONG_3 | TOO_LARGE,
    AFTER_AB = TOO_LONG | OVERLONG_2 | TWO_CONTINUE | SURROGATE | TOO_LARGE,
};

static const uint8_t first_high[16] = {
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TWO_CONTINUE,
    TWO_CONTINUE,
    TWO_CONTINUE,
    TWO_CONTINUE,
    TOO_SHORT | OVERLONG_2,
    TOO_SHORT,
    TOO_SHORT | OVERLONG_3 | SURROGATE,
    TOO_SHORT | TOO_LARGE | EDGE_4,
};

static const uint8_t first_low[16] = {
    ANY_LOW | OVERLONG_3 | OVERLONG_2 | EDGE_4,
    ANY_LOW | OVERLONG_2,
    ANY_LOW,
    ANY_LOW,
    ANY_LOW | TOO_LARGE,
    OVER_F4,
    OVER_F4,
    OVER_F4,
    OVER_F4,
    OVER_F4,
    OVER_F4,
    OVER_F4,
    OVER_F4,
    OVER_F4 | SURROGATE,
    OVER_F4,
    OVER_F4,
};

static const uint8_t second_high[16] = {
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    TOO_SHORT, TOO_SHORT, AFTER_8,   AFTER_9,   AFTER_AB,  AFTER_AB,
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
};

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i
table(const uint8_t entries[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)entries));
}

AVX2 static inline __m256i
high_nibbles(__m256i bytes)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4),
                            _mm256_set1_epi8(0x0f));
}

/* Nonzero where a byte is wrong after those before it. */
AVX2 static inline __m256i
find_errors(__m256i bytes, __m256i before)
{
    __m256i joint = _mm256_permute2x128_si256(before, bytes, 0x21);
    __m256i back1 = _mm256_alignr_epi8(bytes, joint, 15);
    __m256i back2 = _mm256_alignr_epi8(bytes, joint, 14);
    __m256i back3 = _mm256_alignr_epi8(bytes, joint, 13);

    __m256i pairs = _mm256_and_si256(
        _mm256_and_si256(
            _mm256_shuffle_epi8(table(first_high), high_nibbles(back1)),
            _mm256_shuffle_epi8(
                table(first_low),
                _mm256_and_si256(back1, _mm256_set1_epi8(0x0f)))),
        _mm256_shuffle_epi8(table(second_high), high_nibbles(bytes)));

    __m256i third = _mm256_subs_epu8(back2, _mm256_set1_epi8(0xe0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(back3, _mm256_set1_epi8(0xf0 - 0x80));
    __m256i must = _mm256_and_si256(_mm256_or_si256(third, fourth),
                                    _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(must, pairs);
}

/* Nonzero if the last character of these bytes is cut short. */
AVX2 static inline __m256i
find_cut(__m256i bytes)
{
    const __m256i limit =
        _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                         -1, -1, -1, (char)0xef, (char)0xdf, (char)0xbf);
    return _mm256_subs_epu8(bytes, limit);
}

AVX2 static inline __m256i
load(const uint8_t *src)
{
    return _mm256_loadu_si256((const void *)src);
}

/* How many bytes of buf, which starts between two characters, are right, in
 * steps of 64: what follows holds an error, or is short. */
AVX2 static size_t
skip_right_avx2(const uint8_t *buf, size_t len)
{
    __m256i before = _mm256_setzero_si256();
    size_t at = 0;
    for (; len - at >= 64; at += 64) {
        __m256i a = load(buf + at), b = load(buf + at + 32), wrong;
        if (_mm256_movemask_epi8(_mm256_or_si256(a, b)) == 0)
            wrong = find_cut(before);
        else
            wrong = _mm256_or_si256(find_errors(a, before), find_errors(b, a));
        if (!_mm256_testz_si256(wrong, wrong))
            break;
        before = b;
    }
    return at;
}

#endif

/* How far the vectors come; 0 without them. */
static inline size_t
skip_right(pn_simd level, const uint8_t *buf, size_t len)
{
#if PN_SIMD_X86
    if (level == PN_SIMD_AVX2 && len >= VECTOR_MIN)
        return skip_right_avx2(buf, len);
#endif
    (void)level, (void)buf, (void)len;
    return 0;
}

int
pn_utf8_feed_with(pn_simd level, pn_utf8 *utf8, const uint8_t *buf, size_t len,
                  size_t *bad)
{
    size_t at = 0;
    for (; utf8->need > 0 && at < len; at++) {
        if (!take_byte(utf8, buf[at])) {
            *bad = at;
            return PN_EUTF8;
        }
    }
    /* A character cut short by the last right vector is taken up again. */
    size_t right = skip_right(level, buf + at, len - at);
    at += right - pn_utf8_tail(buf + at, right);
    return feed_bytes(utf8, buf, at, len, bad);
}

int
pn_utf8_feed(pn_utf8 *utf8, const uint8_t *buf, size_t len, size_t *bad)
{
    return pn_utf8_feed_with(pn_simd_best(), utf8, buf, len, bad);
}
