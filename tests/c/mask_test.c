/* Every version of pn_mask_copy against a loop of one line. */
#include "check.h"

#include "ws/mask.h"

#define ROOM 1200

static void
plain_mask(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t key[4],
           size_t phase)
{
    for (size_t i = 0; i < len; i++)
        dst[i] = src[i] ^ key[(phase + i) % 4];
}

static void
fill(test_random *random, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(test_random_next(random) >> 32);
}

/* Mask len bytes at two different alignments, copied and in place: the bytes
 * around them stay as they are. */
static void
check_one(test_random *random, pn_simd level, size_t len, size_t phase)
{
    uint8_t src[ROOM], dst[ROOM], wanted[ROOM], key[4];
    size_t from = test_random_next(random) % 70;
    size_t to = test_random_next(random) % 70;
    fill(random, src, ROOM);
    fill(random, dst, ROOM);
    fill(random, key, 4);

    memcpy(wanted, dst, ROOM);
    plain_mask(wanted + to, src + from, len, key, phase);
    pn_mask_copy_with(level, dst + to, src + from, len, key, phase);
    CHECK(memcmp(dst, wanted, ROOM) == 0);

    memcpy(wanted, src, ROOM);
    plain_mask(wanted + from, src + from, len, key, phase);
    pn_mask_copy_with(level, src + from, src + from, len, key, phase);
    CHECK(memcmp(src, wanted, ROOM) == 0);
}

static void
test_versions_agree_for_every_length_and_phase(void)
{
    test_random random;
    test_random_init(&random);
    for (pn_simd level = PN_SIMD_NONE; level <= pn_simd_best(); level++) {
        for (size_t len = 0; len <= 1024; len++) {
            for (size_t phase = 0; phase < 4; phase++)
                check_one(&random, level, len, phase);
        }
    }
}

static void
test_pieces_give_what_the_whole_gives(void)
{
    uint8_t src[ROOM], dst[ROOM], wanted[ROOM], key[4];
    test_random random;
    test_random_init(&random);
    for (int round = 0; round < 500; round++) {
        fill(&random, src, ROOM);
        fill(&random, key, 4);
        pn_mask_copy(wanted, src, ROOM, key, 0);
        for (size_t at = 0, piece; at < ROOM; at += piece) {
            piece = 1 + test_random_next(&random) % 300;
            if (piece > ROOM - at)
                piece = ROOM - at;
            pn_mask_copy(dst + at, src + at, piece, key, at);
        }
        CHECK(memcmp(dst, wanted, ROOM) == 0);
        pn_mask_apply(dst, ROOM, key, 0);
        CHECK(memcmp(dst, src, ROOM) == 0);
    }
}

static void
test_example_of_the_rfc(void)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    static const uint8_t masked[5] = {0x7f, 0x9f, 0x4d, 0x51, 0x58};
    uint8_t out[5];
    pn_mask_copy(out, masked, 5, key, 0);
    CHECK(memcmp(out, "Hello", 5) == 0);
}

int
main(void)
{
    RUN(test_versions_agree_for_every_length_and_phase);
    RUN(test_pieces_give_what_the_whole_gives);
    RUN(test_example_of_the_rfc);
    return 0;
}
