/* A spare's own side of the warm reserve (forkreserve.h), and what it shares
 * with children that are forked when they are asked for: putting received
 * descriptors in their places. Runs in the child alone. */
#ifndef PN_SYS_FORKSPARE_H
#define PN_SYS_FORKSPARE_H

#include "sys/fdpass.h"
#include "sys/forkwire.h"

/* A spare's name in /proc/PID/comm, until it is taken. */
#define PN_FORK_SPARE_NAME "pn-spare"

/* What a child was given. */
typedef struct {
    int link;
    int recorder; /* its page, or -1 */
    int spare;    /* -1, or the socket of a spare: link is -1 then */
} pn_forked;

/* Move a complete request's standard streams into place; the rest of its
 * descriptors. */
pn_forked pn_forkspare_place(const pn_fork_request *request,
                             const pn_fdpass *fds);

/* In a child that has just been forked to be a spare: be called one. */
void pn_forkspare_begin(void);

/* Wait until the request comes: PN_OK with *out set, standard streams in
 * place, the server's name taken; or PN_ECLOSED: it is not needed any more,
 * its server has let go of it or the master (a pidfd, or -1) has ended.
 * Takes over the socket. Blocks. */
int pn_forkspare_wait(int socket, int master, pn_forked *out);

#endif
