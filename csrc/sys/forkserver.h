/* The fork server's loop: a single-threaded process that forks children on
 * request, reaps them and reports their ends (see forkwire.h for what is
 * said). It runs no code of theirs and reads no payload: that travels over
 * each child's own link.
 *
 * Every signal is blocked while it serves, so that only SIGKILL and the end
 * of its master end it. When an arbiter is gone (end of file on its channel)
 * its children have PN_FORK_GRACE to end by themselves and are killed then;
 * when the master is gone, so have all, and then serving ends. The end of the
 * master continues a server that is stopped. Processes that its children
 * leave behind are reparented to it and reaped. */
#ifndef PN_SYS_FORKSERVER_H
#define PN_SYS_FORKSERVER_H

#include "sys/forkspare.h"

#include <sys/types.h>

#define PN_FORK_GRACE 800     /* milliseconds */
#define PN_FORKSERVER_CHILD 2 /* the positive status of serve in a child */

/* Who serves whom. The caller keeps the descriptors and closes them after
 * serving; in a child `control` is closed and `master` stays open. */
typedef struct {
    int control;                  /* end of the master's socket pair */
    int master;                   /* pidfd of the master, or -1 */
    pid_t (*fork)(void *context); /* as fork(2), errno included */
    void *context;
} pn_forkserver;

/* Serve until the master is gone and all children are reaped: PN_OK, or
 * -errno where the loop cannot even start or poll.
 *
 * In a child it returns PN_FORKSERVER_CHILD with *out set: there
 * none of the server's descriptors is open, standard streams are in
 * place, no signal is blocked, SIGINT is ignored, other dispositions are
 * those of the server's start, and the server's death kills. Where out->spare
 * is a socket the child was forked ahead: all that holds but its descriptors,
 * which pn_forkspare_wait gets. */
int pn_forkserver_serve(const pn_forkserver *self, pn_forked *out);

#endif
