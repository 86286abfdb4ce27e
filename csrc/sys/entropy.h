/* Random bytes of the kernel, fetched many at a time: for masking keys,
 * which no peer may guess (RFC 6455, section 10.3). One thread at a time. */
#ifndef PN_SYS_ENTROPY_H
#define PN_SYS_ENTROPY_H

#include <stddef.h>
#include <stdint.h>

#define PN_ENTROPY_STORE 2048

/* A store of bytes not yet given out: those in bytes[0..left). It lies in
 * memory that the kernel wipes in a forked child, so that parent and child
 * never give the same bytes: wiped, it is empty. */
typedef struct {
    size_t left;
    uint8_t bytes[PN_ENTROPY_STORE];
} pn_entropy;

/* A new empty store, or NULL. */
pn_entropy *pn_entropy_new(void);

/* NULL is allowed. */
void pn_entropy_free(pn_entropy *entropy);

/* Write len bytes, at most PN_ENTROPY_STORE, to out; each is given once.
 * PN_OK, or -errno if the kernel refuses. */
int pn_entropy_take(pn_entropy *entropy, uint8_t *out, size_t len);

#endif
