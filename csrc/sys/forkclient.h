/* An arbiter's end of a channel to the fork server (see forkwire.h). Never
 * blocks. One thread, the arbiter's loop's. */
#ifndef PN_SYS_FORKCLIENT_H
#define PN_SYS_FORKCLIENT_H

#include "sys/forkwire.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct pn_fork_unsent pn_fork_unsent;

/* A channel's client.
 *   - unsent requests exist only while unanswered > 0: a report is bound to
 *     come, and taking it sends them, so nobody waits for room to write;
 *   - requests leave in the order of their spawn calls. */
typedef struct {
    int fd;            /* -1 once closed */
    size_t unanswered; /* sent, and neither STARTED nor FAILED came */
    pn_fork_unsent *first, *last;
} pn_forkclient;

/* Take over the channel's descriptor. */
void pn_forkclient_init(pn_forkclient *self, int fd);

/* Close the channel: the children get their grace period, then die. Harmless
 * when repeated. */
void pn_forkclient_close(pn_forkclient *self);

/* Ask for a child with copies of fd[PN_FORK_FDS], -1 where one is not given;
 * the caller may close its own at once. Where the socket is full the request
 * waits here. PN_OK, PN_ENOMEM, PN_ECLOSED after close, or -errno: -EPIPE if
 * the server is gone, -EBADF for a bad descriptor, -EAGAIN if the socket is
 * full and nothing is unanswered. */
int pn_forkclient_spawn(pn_forkclient *self, uint64_t token, const int *fd);

/* Have the server keep that many children forked ahead for this channel, if
 * nothing more than the greatest such number of all its channels. As _spawn.
 */
int pn_forkclient_reserve(pn_forkclient *self, uint64_t count);

/* Take one report: PN_OK, with *pidfd the caller's if it came along, else
 * -1; PN_MORE if there is none; PN_ECLOSED when the server is gone; PN_EPROTO
 * for a message that is no report; or -errno. Sends what waited. */
int pn_forkclient_receive(pn_forkclient *self, pn_fork_report *report,
                          int *pidfd);

#endif
