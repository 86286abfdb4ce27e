/* What an arbiter and the fork server say to each other: one struct a
 * message, in the machine's own byte order, as both ends are one build on one
 * host. Sockets are SOCK_SEQPACKET pairs.
 *
 * Control socket, of the master: each message is one byte with one
 * descriptor, the server's end of a new channel. Its end of file ends all.
 *
 * Channel, one an arbiter: pn_fork_request with its descriptors one way,
 * pn_fork_report the other. Its end of file says that the arbiter is gone.
 * Each SPAWN is answered by exactly one STARTED or FAILED, in order; each
 * STARTED is followed, some day, by exactly one EXITED. A RESERVE says how
 * many children are to be forked ahead; it is not answered, and the greatest
 * of all channels counts.
 *
 * Socket of a spare, a child forked ahead: the SPAWN that it is to serve,
 * with its descriptors, as the server got it. */
#ifndef PN_SYS_FORKWIRE_H
#define PN_SYS_FORKWIRE_H

#include <stdint.h>

/* Descriptors of a SPAWN, by index. One that is not given: stdin is
 * /dev/null, stdout and stderr are the server's, and there is no flight
 * recorder (recorder.h). The link must be. */
enum {
    PN_FORK_LINK,
    PN_FORK_STDIN,
    PN_FORK_STDOUT,
    PN_FORK_STDERR,
    PN_FORK_RECORDER,
    PN_FORK_FDS,
};

enum {
    PN_FORK_SPAWN = 1,
    PN_FORK_STARTED,
    PN_FORK_FAILED,
    PN_FORK_EXITED,
    PN_FORK_RESERVE,
};

typedef struct {
    uint32_t kind;  /* PN_FORK_SPAWN, PN_FORK_RESERVE */
    uint32_t given; /* bit i: descriptor i is attached, in this order */
    uint64_t token; /* the client's name for the child, returned in reports;
                     * of a RESERVE: how many spares */
} pn_fork_request;

typedef struct {
    uint32_t kind;
    int32_t pid;      /* STARTED, EXITED */
    uint64_t token;   /* of the request */
    int32_t error;    /* FAILED: an errno */
    int32_t code;     /* EXITED: exit status, 0 if a signal ended it */
    int32_t signal;   /* EXITED: the signal that ended it, or 0 */
    int32_t core;     /* EXITED: 1 if a core was dumped */
    uint64_t utime;   /* EXITED: microseconds of user time */
    uint64_t stime;   /* EXITED: microseconds of system time */
    uint64_t max_rss; /* EXITED: bytes */
} pn_fork_report;     /* STARTED carries the pidfd, if there is one */

#endif
