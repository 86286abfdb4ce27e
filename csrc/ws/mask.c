#include "ws/mask.h"

#include <string.h>

#if PN_SIMD_X86
#include <immintrin.h>
#endif

/* From here on vectors pay for their set-up. */
#define VECTOR_MIN 32

/* Eight bytes of key as they lie in memory, turned so that the one for the
 * byte `steps` further on comes first. */
static inline uint64_t
turn_key(uint64_t word, size_t steps)
{
    unsigned bits = 8 * (steps & 3);
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        bits = (64 - bits) & 63;
    return word >> bits | word << ((64 - bits) & 63);
}

static inline uint64_t
load_key(const uint8_t key[4], size_t phase)
{
    uint32_t half;
    memcpy(&half, key, 4);
    return turn_key((uint64_t)half << 32 | half, phase);
}

/* The words of the next two functions overlap where the length is not a
 * multiple of theirs. So the last is loaded before anything is stored: dst
 * may be src. */
static inline void
copy_few(uint8_t *dst, const uint8_t *src, size_t len, uint64_t word)
{
    if (len >= 4) {
        uint32_t first, last;
        memcpy(&first, src, 4);
        memcpy(&last, src + len - 4, 4);
        first ^= (uint32_t)word;
        last ^= (uint32_t)turn_key(word, len);
        memcpy(dst, &first, 4);
        memcpy(dst + len - 4, &last, 4);
        return;
    }
    uint8_t key[8];
    memcpy(key, &word, 8);
    for (size_t i = 0; i < len; i++)
        dst[i] = src[i] ^ key[i];
}

/* At least 8 bytes. */
static inline void
copy_words(uint8_t *dst, const uint8_t *src, size_t len, uint64_t word)
{
    uint64_t here, last;
    memcpy(&last, src + len - 8, 8);
    last ^= turn_key(word, len);
    for (size_t i = 0; i + 8 < len; i += 8) {
        memcpy(&here, src + i, 8);
        here ^= word;
        memcpy(dst + i, &here, 8);
    }
    memcpy(dst + len - 8, &last, 8);
}

#if PN_SIMD_X86

/* At least 32 bytes; the last vector as in copy_words. */
__attribute__((target("avx2"))) static void
copy_avx2(uint8_t *dst, const uint8_t *src, size_t len, uint64_t word)
{
    const __m256i key = _mm256_set1_epi64x((long long)word);
    __m256i last =
        _mm256_xor_si256(_mm256_loadu_si256((const void *)(src + len - 32)),
                         _mm256_set1_epi64x((long long)turn_key(word, len)));
    size_t i = 0;
    for (; i + 128 <= len; i += 128) {
        __m256i a = _mm256_loadu_si256((const void *)(src + i));
        __m256i b = _mm256_loadu_si256((const void *)(src + i + 32));
        __m256i c = _mm256_loadu_si256((const void *)(src + i + 64));
        __m256i d = _mm256_loadu_si256((const void *)(src + i + 96));
        _mm256_storeu_si256((void *)(dst + i), _mm256_xor_si256(a, key));
        _mm256_storeu_si256((void *)(dst + i + 32), _mm256_xor_si256(b, key));
        _mm256_storeu_si256((void *)(dst + i + 64), _mm256_xor_si256(c, key));
        _mm256_storeu_si256((void *)(dst + i + 96), _mm256_xor_si256(d, key));
    }
    for (; i + 32 < len; i += 32) {
        __m256i a = _mm256_loadu_si256((const void *)(src + i));
        _mm256_storeu_si256((void *)(dst + i), _mm256_xor_si256(a, key));
    }
    _mm256_storeu_si256((void *)(dst + len - 32), last);
}

#endif

static inline void
copy_many(pn_simd level, uint8_t *dst, const uint8_t *src, size_t len,
          uint64_t word)
{
#if PN_SIMD_X86
    if (level == PN_SIMD_AVX2) {
        copy_avx2(dst, src, len, word);
        return;
    }
#endif
    (void)level;
    copy_words(dst, src, len, word);
}

void
pn_mask_copy_with(pn_simd level, uint8_t *dst, const uint8_t *src, size_t len,
                  const uint8_t key[4], size_t phase)
{
    uint64_t word = load_key(key, phase);
    if (len < 8)
        copy_few(dst, src, len, word);
    else if (len < VECTOR_MIN)
        copy_words(dst, src, len, word);
    else
        copy_many(level, dst, src, len, word);
}

void
pn_mask_copy(uint8_t *dst, const uint8_t *src, size_t len,
             const uint8_t key[4], size_t phase)
{
    pn_mask_copy_with(pn_simd_best(), dst, src, len, key, phase);
}
