/* A link's socket: bytes between a Unix stream socket and the mailbox's inbox
 * and outbox. Non-blocking; loop thread only.
 *   - the link owns its descriptor from init to close;
 *   - the first bytes' sender is known: pid and uid as the kernel tells them
 *     (SCM_CREDENTIALS), for SO_PEERCRED names who made an inherited pair;
 *   - descriptors pass beside the bytes (SCM_RIGHTS), one in a system call, so
 *     that one which is cut off is known to be one: each leaves with the next
 *     bytes, which are those of its frame at the latest. */
#ifndef PN_SYS_LINK_H
#define PN_SYS_LINK_H

#include "mailbox/inbox.h"
#include "mailbox/outbox.h"
#include "sys/descriptors.h"

#include <sys/types.h>

/* The kernel's send buffer, so that control is never behind more than 256
 * KiB of payload. Linux doubles what is asked for (socket(7)) and lets the
 * last write exceed it, so up to twice this and a segment lie in the kernel,
 * with one more segment that has begun to leave. */
#define PN_LINK_SEND_BUFFER (80 * 1024)

/* Bytes asked for in one receive. */
#define PN_LINK_READ_SIZE (64 * 1024)

typedef struct {
    int fd; /* -1 once closed */
    pn_inbox in;
    pn_outbox out;
    pn_descriptors fds;
    bool peer_known;
    pid_t peer_pid;
    uid_t peer_uid;
} pn_link;

typedef struct {
    size_t message_bytes;   /* of one incoming message, at most */
    size_t outbox_messages; /* waiting to leave, at most */
    size_t outbox_bytes;
} pn_link_limits;

/* A connected pair, close-on-exec, whose bytes carry credentials; pn_link_init
 * makes its end non-blocking. 0 or -errno. */
int pn_link_pair(int fds[2]);

/* Take fd over, whatever the result: on failure it is closed. 0 or -errno. */
int pn_link_init(pn_link *link, int fd, const pn_link_limits *limits);

/* Replace the limits: for what begins to come or is put from now on. */
void pn_link_limit(pn_link *link, const pn_link_limits *limits);

/* Close the descriptor, those that travel, and free both boxes: parts,
 * messages and slices borrowed from them end. Twice is once. */
void pn_link_close(pn_link *link);

/* Close the descriptors alone: what was borrowed from the boxes stays until
 * pn_link_close. Twice is once. */
void pn_link_hang_up(pn_link *link);

/* Receive once into the inbox. PN_OK: bytes came, and *full tells whether all
 * the room was used, so that more may wait. PN_MORE: none now. PN_ECLOSED:
 * end of file, a reset (the peer has gone with bytes of ours unread), or the
 * link is closed. PN_EPROTO: more descriptors than a correct peer passes.
 * Else -errno or PN_ENOMEM. */
int pn_link_receive(pn_link *link, bool *full);

/* Send what the outbox holds. PN_OK: all has left. PN_MORE: the kernel's
 * buffer is full. PN_ECLOSED: the link is closed. Else -errno (-EPIPE: the
 * peer has gone) or PN_ENOMEM. */
int pn_link_flush(pn_link *link);

/* Send env, a message without payload, as the last that this end says, if the
 * outbox is empty and the kernel has room. PN_OK: the peer will read it and
 * then the end of file. PN_MORE: not now, and nothing has changed. Else as
 * pn_link_flush. */
int pn_link_finish(pn_link *link, const pn_envelope *env);

/* Send fd along with the message that is put next, whose extension names
 * *serial. PN_OK: fd is the link's, which closes it. PN_EFULL: not now (many
 * are under way, or one has just been lost), PN_ECLOSED: the link is closed,
 * and fd is the caller's as before. */
int pn_link_attach(pn_link *link, int fd, uint64_t *serial);

/* Give the descriptor that was attached last back: its message could not be
 * put. Nothing was flushed meanwhile. */
int pn_link_retract(pn_link *link);

/* The descriptor that a message names, close-on-exec; the caller's from now
 * on. -1: it was lost (there was no number free for it, here or in the
 * kernel), or has been claimed. */
int pn_link_claim(pn_link *link, uint64_t serial);

#endif
