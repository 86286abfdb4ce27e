/* The warm reserve of the fork server: spares, children forked ahead, each
 * waiting on a socket of its own for the request that it is to serve
 * (forkspare.h is their side). Forks nothing and waits for nothing. One
 * thread; time is an argument, in milliseconds.
 *
 * It is filled only where nothing was asked for PN_FORK_CALM, one spare each
 * PN_FORK_PACE, so that no spawn ever waits for it. */
#ifndef PN_SYS_FORKRESERVE_H
#define PN_SYS_FORKRESERVE_H

#include "sys/fdpass.h"
#include "sys/forkwire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PN_FORK_CALM 50    /* milliseconds from a spawn to the next spare */
#define PN_FORK_PACE 10    /* from a spare to the next */
#define PN_FORK_RETRY 1000 /* from one that failed to the next */

/* One spare: a child that is not reaped, since only the server reaps. */
typedef struct pn_fork_spare {
    struct pn_fork_spare *next;
    pid_t pid;
    int pidfd; /* or -1 */
    int fd;    /* the server's end of its socket */
} pn_fork_spare;

/* The reserve.
 *   - count is the length of the list, which is oldest first;
 *   - count <= wanted after each call of _want. */
typedef struct {
    pn_fork_spare *first, *last;
    size_t count;
    size_t wanted;
    int64_t refill; /* not before that is another one forked */
} pn_forkreserve;

void pn_forkreserve_init(pn_forkreserve *self);

/* Kill all spares and free everything. */
void pn_forkreserve_fini(pn_forkreserve *self);

/* Close every descriptor and free nothing: for a forked child. */
void pn_forkreserve_abandon(const pn_forkreserve *self);

/* Have that many from now on: what is too much is killed. */
void pn_forkreserve_want(pn_forkreserve *self, size_t wanted);

/* Let `pause` pass from now before the next is forked. */
void pn_forkreserve_wait(pn_forkreserve *self, int64_t now, int64_t pause);

/* When the next is to be forked; PN_FORK_NEVER where none lacks. */
int64_t pn_forkreserve_due(const pn_forkreserve *self);

/* Enter a spare, filled in by the caller; it came from pn_alloc. */
void pn_forkreserve_add(pn_forkreserve *self, pn_fork_spare *spare);

/* Hand the request to the oldest spare that takes it. True with *pid and
 * *pidfd set, which are the caller's then; false if there is none. */
bool pn_forkreserve_give(pn_forkreserve *self, const pn_fork_request *request,
                         const pn_fdpass *fds, pid_t *pid, int *pidfd);

/* A process was reaped: true if it was a spare, which is forgotten. */
bool pn_forkreserve_exited(pn_forkreserve *self, pid_t pid);

/* Walk the invariants; for tests. */
bool pn_forkreserve_check(const pn_forkreserve *self);

#endif
