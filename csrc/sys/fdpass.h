/* One message with descriptors over a Unix socket of message boundaries
 * (SOCK_SEQPACKET). Never blocks, never raises SIGPIPE. No state. */
#ifndef PN_SYS_FDPASS_H
#define PN_SYS_FDPASS_H

#include <stdbool.h>
#include <stddef.h>

#define PN_FDPASS_MAX 8 /* descriptors in one message */

/* The descriptors of a received message: the receiver's, close-on-exec.
 *   - count is 0 where cut is true: none of a broken set is given out. */
typedef struct {
    int fd[PN_FDPASS_MAX];
    size_t count;
    bool cut; /* some were lost: more than PN_FDPASS_MAX, or EMFILE here */
} pn_fdpass;

/* Send len > 0 bytes with copies of count descriptors; the caller keeps its
 * own. PN_OK, PN_MORE if the socket is full, or -errno (EPIPE: nobody reads;
 * ETOOMANYREFS: too many descriptors of this user are in flight). */
int pn_fdpass_send(int socket, const void *data, size_t len, const int *fd,
                   size_t count);

/* Receive one message of at most size bytes. PN_OK with *len and *fds set,
 * PN_MORE if there is none, PN_ECLOSED at the end of file, PN_ETOOBIG for a
 * longer one (dropped, its descriptors closed), or -errno. */
int pn_fdpass_receive(int socket, void *buf, size_t size, size_t *len,
                      pn_fdpass *fds);

/* Close the descriptors that are left in fds and empty it. */
void pn_fdpass_close(pn_fdpass *fds);

#endif
