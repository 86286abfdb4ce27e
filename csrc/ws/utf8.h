/* UTF-8 (RFC 3629) that comes in pieces: validated as it arrives, refused at
 * the first byte that no continuation can repair. No I/O, no allocation. */
#ifndef PN_WS_UTF8_H
#define PN_WS_UTF8_H

#include "ws/simd.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the text stands; zeroed it is at its start.
 *   - need bytes are still missing from the last character: 0 to 3;
 *   - if need is not 0, the next byte lies between low and high. */
typedef struct {
    uint8_t need;
    uint8_t low;
    uint8_t high;
} pn_utf8;

/* Take the next piece of the text. PN_OK, or PN_EUTF8 with *bad set to the
 * offset in buf of the first wrong byte: then *utf8 is of no more use. */
int pn_utf8_feed(pn_utf8 *utf8, const uint8_t *buf, size_t len, size_t *bad);

/* Whether the text may end here: no character is cut short. */
static inline bool
pn_utf8_is_whole(const pn_utf8 *utf8)
{
    return utf8->need == 0;
}

/* How many bytes at the end of buf[0..len), right so far, are those of a
 * character cut short: 0 to 3. */
size_t pn_utf8_tail(const uint8_t *buf, size_t len);

/* pn_utf8_feed by the instructions of one level, which the machine has. */
int pn_utf8_feed_with(pn_simd level, pn_utf8 *utf8, const uint8_t *buf,
                      size_t len, size_t *bad);

#endif
