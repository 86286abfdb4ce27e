/* The receiver's segments of one link: mapped when the far end offers them,
 * lent to whoever holds a payload that lies in one, and given back to the far
 * end when that is over. The shelf belongs to the loop thread; what it lends
 * may be released on any thread, and may outlive the shelf's link.
 *   - an entry of by_id is lent or idle; the far end writes idle ones only;
 *   - what is released goes on the stack `returned`, from which the loop
 *     thread takes it; once the shelf is closed it is unmapped at once;
 *   - refs counts the link and each loan: the last one frees the shelf. */
#ifndef PN_SYS_SEGSHELF_H
#define PN_SYS_SEGSHELF_H

#include "base/ref.h"

#include <stdbool.h>

typedef struct pn_segshelf pn_segshelf;

/* At most byte_limit bytes and count_limit segments; NULL without memory. */
pn_segshelf *pn_segshelf_new(size_t byte_limit, size_t count_limit);

/* The link has gone: unmap what is idle; what is lent stays until it is
 * released. NULL is allowed. */
void pn_segshelf_close(pn_segshelf *shelf);

/* Map the segment that the far end offers; fd is closed, whatever the result,
 * and may be -1: it was lost on the way. PN_EPROTO: it has this id already,
 * or is none of that size whose size is sealed. PN_EFULL: over a limit;
 * PN_ENOMEM or -errno: it cannot be mapped. */
int pn_segshelf_add(pn_segshelf *shelf, uint64_t id, size_t size, int fd);

/* The first used bytes of segment id as a payload: writable, page-aligned, the
 * holder's alone, to be released on any thread. PN_EPROTO if that segment is
 * not here, is lent or is shorter. */
int pn_segshelf_lend(pn_segshelf *shelf, uint64_t id, size_t used,
                     pn_ref *out);

/* The far end has dropped segment id: unmap it. PN_EPROTO if it is not here
 * or is lent. */
int pn_segshelf_drop(pn_segshelf *shelf, uint64_t id);

/* One that was released: idle from now on, and the far end is to be told.
 * False if there is none. */
bool pn_segshelf_returned(pn_segshelf *shelf, uint64_t *id);

/* For tests: how many segments are mapped, lent ones included. */
size_t pn_segshelf_count(const pn_segshelf *shelf);

#endif
