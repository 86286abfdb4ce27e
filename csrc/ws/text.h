/* Valid UTF-8 as an array of code points of one width: 1 byte (Latin-1), 2
 * or 4. What comes in is right and whole (see utf8.h); nothing is checked
 * again. No I/O, no allocation. */
#ifndef PN_WS_TEXT_H
#define PN_WS_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* What a text needs as an array. */
typedef struct {
    size_t count;     /* code points */
    uint32_t highest; /* no code point is higher: 0x7f, 0xff, 0xffff or
                       * 0x10ffff, the lowest of these that is true */
} pn_text_size;

/* Measure utf8[0..len). */
pn_text_size pn_text_measure(const uint8_t *utf8, size_t len);

/* Write the code points of utf8[0..len) to out, which has room for as many
 * as pn_text_measure counts, none of them too high for it. */
void pn_text_to_latin1(uint8_t *out, const uint8_t *utf8, size_t len);
void pn_text_to_ucs2(uint16_t *out, const uint8_t *utf8, size_t len);
void pn_text_to_ucs4(uint32_t *out, const uint8_t *utf8, size_t len);

#endif
