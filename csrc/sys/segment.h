/* A segment: memory that two processes map at once, of a size that nobody can
 * change any more. Made by memfd_create, passed as a descriptor, which both
 * ends close once they have mapped it. No state. */
#ifndef PN_SYS_SEGMENT_H
#define PN_SYS_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

/* The largest segment: making one clears all of its memory at once. */
#define PN_SEGMENT_LIMIT ((size_t)128 << 20)

/* Make a segment of size > 0 bytes, all of them there (touching one never
 * fails for want of memory), sealed, and mapped here: *fd, close-on-exec, is
 * for who shall map it too. 0, PN_ETOOBIG over the limit, or -errno: EMFILE,
 * ENFILE, ENOMEM, ENOSPC; EPERM or ENOSYS where a sandbox refuses memfd. */
int pn_segment_make(size_t size, int *fd, uint8_t **data);

/* Map what fd stands for; the caller keeps fd. PN_EPROTO if it is no memfd of
 * exactly size bytes whose size is sealed for ever, since its maker could cut
 * it short under us then; PN_ETOOBIG over the limit; else 0 or -errno. */
int pn_segment_map(int fd, size_t size, uint8_t **data);

void pn_segment_unmap(uint8_t *data, size_t size);

#endif
