/* Masking of payloads (RFC 6455, section 5.3). Masking twice unmasks. No
 * I/O, no allocation, no state; any thread. */
#ifndef PN_WS_MASK_H
#define PN_WS_MASK_H

#include "ws/simd.h"

#include <stddef.h>
#include <stdint.h>

/* Write src[0..len), masked, to dst. `phase` is the place of src[0] in its
 * payload (only its lowest two bits count), so that a payload may come in
 * pieces. dst may be src itself; they do not overlap otherwise. */
void pn_mask_copy(uint8_t *dst, const uint8_t *src, size_t len,
                  const uint8_t key[4], size_t phase);

/* Mask buf[0..len) in place. */
static inline void
pn_mask_apply(uint8_t *buf, size_t len, const uint8_t key[4], size_t phase)
{
    pn_mask_copy(buf, buf, len, key, phase);
}

/* pn_mask_copy by the instructions of one level, which the machine has. */
void pn_mask_copy_with(pn_simd level, uint8_t *dst, const uint8_t *src,
                       size_t len, const uint8_t key[4], size_t phase);

#endif
