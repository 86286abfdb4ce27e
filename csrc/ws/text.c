#include "ws/text.h"

#include "ws/simd.h"

#include <string.h>

#if PN_SIMD_X86
#include <emmintrin.h> /* SSE2: every x86-64 has it */
#endif

/* Short enough for a count in a byte; the compiler makes vectors of it. */
#define BLOCK 192

static inline size_t
measure_block(const uint8_t *utf8, size_t len, uint8_t *highest)
{
    uint8_t count = 0, most = *highest;
    for (size_t i = 0; i < len; i++) {
        count = (uint8_t)(count + ((int8_t)utf8[i] >= -0x40));
        most = utf8[i] > most ? utf8[i] : most;
    }
    *highest = most;
    return count;
}

pn_text_size
pn_text_measure(const uint8_t *utf8, size_t len)
{
    pn_text_size size = {0};
    uint8_t most = 0;
    size_t at = 0;
    for (; len - at >= BLOCK; at += BLOCK)
        size.count += measure_block(utf8 + at, BLOCK, &most);
    size.count += measure_block(utf8 + at, len - at, &most);
    size.highest = most < 0x80   ? 0x7f
                   : most < 0xc4 ? 0xff
                   : most < 0xf0 ? 0xffff
                                 : 0x10ffff;
    return size;
}

/* The character at *s, which then points behind it. */
static inline uint32_t
next_character(const uint8_t **s)
{
    const uint8_t *p = *s;
    uint32_t lead = p[0];
    if (lead < 0x80) {
        *s = p + 1;
        return lead;
    }
    if (lead < 0xe0) {
        *s = p + 2;
        return (lead & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (lead < 0xf0) {
        *s = p + 3;
        return (lead & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 |
               (p[2] & 0x3f);
    }
    *s = p + 4;
    return (lead & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
           (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

#if PN_SIMD_X86

static inline __m128i
load(const uint8_t *src)
{
    return _mm_loadu_si128((const void *)src);
}

/* Eight characters of two bytes each, or false. As words, a lead byte is the
 * lower half. */
static inline int
eight_of_two(__m128i bytes, __m128i *out)
{
    __m128i shape = _mm_and_si128(bytes, _mm_set1_epi16((short)0xc0e0));
    __m128i right = _mm_cmpeq_epi16(shape, _mm_set1_epi16((short)0x80c0));
    if (_mm_movemask_epi8(right) != 0xffff)
        return 0;
    __m128i upper =
        _mm_slli_epi16(_mm_and_si128(bytes, _mm_set1_epi16(0x001f)), 6);
    __m128i lower =
        _mm_and_si128(_mm_srli_epi16(bytes, 8), _mm_set1_epi16(0x003f));
    *out = _mm_or_si128(upper, lower);
    return 1;
}

void
pn_text_to_latin1(uint8_t *out, const uint8_t *utf8, size_t len)
{
    const uint8_t *end = utf8 + len;
    while (end - utf8 >= 16) {
        __m128i bytes = load(utf8);
        int high = _mm_movemask_epi8(bytes);
        if (high == 0) {
            _mm_storeu_si128((void *)out, bytes);
            utf8 += 16;
            out += 16;
            continue;
        }
        for (int ascii = __builtin_ctz((unsigned)high); ascii > 0; ascii--)
            *out++ = *utf8++;
        do
            *out++ = (uint8_t)next_character(&utf8);
        while (utf8 < end && *utf8 >= 0x80);
    }
    while (utf8 < end)
        *out++ = (uint8_t)next_character(&utf8);
}

/* Until fewer than 16 bytes are left; *out then points behind the last. */
static inline const uint8_t *
many_to_ucs2(uint16_t **out, const uint8_t *utf8, const uint8_t *end)
{
    const __m128i zero = _mm_setzero_si128();
    uint16_t *to = *out;
    while (end - utf8 >= 16) {
        __m128i bytes = load(utf8), words;
        if (eight_of_two(bytes, &words)) {
            _mm_storeu_si128((void *)to, words);
            utf8 += 16;
            to += 8;
        } else if (_mm_movemask_epi8(bytes) == 0) {
            _mm_storeu_si128((void *)to, _mm_unpacklo_epi8(bytes, zero));
            _mm_storeu_si128((void *)(to + 8), _mm_unpackhi_epi8(bytes, zero));
            utf8 += 16;
            to += 16;
        } else {
            for (int i = 0; i < 4; i++)
                *to++ = (uint16_t)next_character(&utf8);
        }
    }
    *out = to;
    return utf8;
}

#else

void
pn_text_to_latin1(uint8_t *out, const uint8_t *utf8, size_t len)
{
    const uint8_t *end = utf8 + len;
    while (utf8 < end)
        *out++ = (uint8_t)next_character(&utf8);
}

static inline const uint8_t *
many_to_ucs2(uint16_t **out, const uint8_t *utf8, const uint8_t *end)
{
    (void)out, (void)end;
    return utf8;
}

#endif

void
pn_text_to_ucs2(uint16_t *out, const uint8_t *utf8, size_t len)
{
    const uint8_t *end = utf8 + len;
    utf8 = many_to_ucs2(&out, utf8, end);
    while (utf8 < end)
        *out++ = (uint16_t)next_character(&utf8);
}

void
pn_text_to_ucs4(uint32_t *out, const uint8_t *utf8, size_t len)
{
    const uint8_t *end = utf8 + len;
    while (utf8 < end)
        *out++ = next_character(&utf8);
}
