/* A link's socket: bytes between a Unix stream socket and the mailbox's inbox
 * and outbox. Non-blocking; loop thread only.
 *   - the link owns its descriptor from init to close;
 *   - the first bytes' sender is known: pid and uid as the kernel tells them
 *     (SCM_CREDENTIALS), for SO_PEERCRED names who made an inherited pair. */
#ifndef PN_SYS_LINK_H
#define PN_SYS_LINK_H

#include "mailbox/inbox.h"
#include "mailbox/outbox.h"

#include <sys/types.h>

/* The kernel's send buffer, so that control is never behind more than 256
 * KiB of payload: Linux accounts twice what is asked for (socket(7)). */
#define PN_LINK_SEND_BUFFER (96 * 1024)

/* Bytes asked for in one receive. */
#define PN_LINK_READ_SIZE (64 * 1024)

typedef struct {
    int fd; /* -1 once closed */
    pn_inbox in;
    pn_outbox out;
    bool peer_known;
    pid_t peer_pid;
    uid_t peer_uid;
} pn_link;

typedef struct {
    size_t message_bytes;   /* of one incoming message, at most */
    size_t outbox_messages; /* waiting to leave, at most */
    size_t outbox_bytes;
} pn_link_limits;

/* A connected pair: [0] is close-on-exec and non-blocking, [1] close-on-exec.
 * 0 or -errno. */
int pn_link_pair(int fds[2]);

/* Take fd over, whatever the result: on failure it is closed. 0 or -errno. */
int pn_link_init(pn_link *link, int fd, const pn_link_limits *limits);

/* Close the descriptor and free both boxes. Twice is once. */
void pn_link_close(pn_link *link);

/* Receive once into the inbox. PN_OK: bytes came, and *full tells whether all
 * the room was used, so that more may wait. PN_MORE: none now. PN_ECLOSED:
 * end of file. Else -errno or PN_ENOMEM. */
int pn_link_receive(pn_link *link, bool *full);

/* Send what the outbox holds. PN_OK: all has left. PN_MORE: the kernel's
 * buffer is full. Else -errno (-EPIPE: the peer has gone) or PN_ENOMEM. */
int pn_link_flush(pn_link *link);

#endif
