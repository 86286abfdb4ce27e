/* What the fork server knows: its channels, the living children of each, and
 * the reports that wait for room in a channel's socket. Forks nothing and
 * waits for nothing. One thread; time is an argument, in milliseconds. */
#ifndef PN_SYS_FORKTABLE_H
#define PN_SYS_FORKTABLE_H

#include "sys/forkwire.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PN_FORK_NEVER INT64_MAX /* a deadline that does not come */
#define PN_FORK_BUCKETS 256

typedef struct pn_fork_child pn_fork_child;

/* A report in a channel's queue. Nothing is allocated to make one. */
typedef struct pn_fork_pending {
    struct pn_fork_pending *next;
    pn_fork_child *child; /* freed once this is sent; NULL: the answer */
    pn_fork_report report;
    int pidfd; /* -1, or sent along and then closed */
} pn_fork_pending;

/* One arbiter's socket. It outlives its arbiter until its last child is
 * reaped.
 *   - fd is -1 exactly from the end of file on, and then the queue is empty;
 *   - a channel with a queue is not read, so `answer` is in use at most once
 *     and the queue is bounded by its children and that one;
 *   - children counts those in the buckets. */
typedef struct pn_fork_channel {
    struct pn_fork_channel *next;
    int fd;
    int64_t deadline; /* when its children are killed */
    size_t children;
    size_t spares; /* that its arbiter wants in reserve */
    pn_fork_pending *first, *last;
    pn_fork_pending answer; /* to the request that was just read */
} pn_fork_channel;

/* A child, from before its fork until its EXITED is sent or unwanted. */
struct pn_fork_child {
    pn_fork_child *next; /* in its bucket */
    pn_fork_channel *channel;
    pid_t pid;
    uint64_t token;
    pn_fork_pending exited;
};

typedef struct {
    pn_fork_channel *channels;
    size_t channel_count;
    size_t child_count; /* not reaped yet */
    pn_fork_child *bucket[PN_FORK_BUCKETS];
} pn_forktable;

void pn_forktable_init(pn_forktable *table);

/* Free everything and close every descriptor. */
void pn_forktable_fini(pn_forktable *table);

/* Close every descriptor and free nothing: for a forked child, where freeing
 * would copy the pages of all this for no use. */
void pn_forktable_abandon(const pn_forktable *table);

/* Take over fd as a new channel. PN_OK or PN_ENOMEM; fd is closed then. */
int pn_forktable_add(pn_forktable *table, int fd);

/* The channel's arbiter is gone: its socket is closed, its queue dropped,
 * its children are killed at the deadline. Harmless when repeated. */
void pn_forktable_hang_up(pn_fork_channel *channel, int64_t deadline);

/* Free the channels that are closed and have no children. */
void pn_forktable_sweep(pn_forktable *table);

/* Room for a child and its last report, or NULL. The caller's until
 * _started takes it or pn_free. */
pn_fork_child *pn_forktable_reserve(pn_fork_channel *channel, uint64_t token);

/* The child runs: enter it and report STARTED. Takes pidfd, which may be
 * -1. */
void pn_forktable_started(pn_forktable *table, pn_fork_child *child, pid_t pid,
                          int pidfd);

/* Report FAILED with an errno. Only as the answer to a request. */
void pn_forktable_failed(pn_fork_channel *channel, uint64_t token, int error);

/* A process was reaped, with what wait4 told. Reports EXITED if it was one
 * of the children and its arbiter lives. */
void pn_forktable_exited(pn_forktable *table, pid_t pid, int status,
                         const struct rusage *usage);

/* How many spares the open channels want: the most that one does. */
size_t pn_forktable_spares(const pn_forktable *table);

/* Send what waits until the socket is full. */
void pn_forktable_flush(pn_fork_channel *channel);

/* The earliest deadline, or PN_FORK_NEVER. */
int64_t pn_forktable_deadline(const pn_forktable *table);

/* SIGKILL the children of channels whose deadline has come. Safe by pid:
 * only the caller reaps. */
void pn_forktable_kill_due(pn_forktable *table, int64_t now);

/* Walk the invariants; for tests. */
bool pn_forktable_check(const pn_forktable *table);

#endif
