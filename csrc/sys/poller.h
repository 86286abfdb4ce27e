/* One descriptor that stands for many: an epoll set, which any event loop can
 * watch as one reader. Owned by one thread; closes nothing but itself. */
#ifndef PN_SYS_POLLER_H
#define PN_SYS_POLLER_H

#include <stdbool.h>

/* Events of one wait, at most. */
#define PN_POLL_BATCH 64

typedef struct {
    int fd;
} pn_poller;

typedef struct {
    void *owner;   /* what add was given */
    bool readable; /* bytes, end of file or an error */
    bool writable;
} pn_poll_event;

/* A new set, close-on-exec. 0 or -errno. */
int pn_poller_init(pn_poller *poller);

/* Close the set; the descriptors in it are untouched. */
void pn_poller_close(pn_poller *poller);

/* Watch fd, always for reading and, if writable, for room to write. owner
 * comes back with its events. 0 or -errno. */
int pn_poller_add(pn_poller *poller, int fd, void *owner, bool writable);

/* Change whether room to write is of interest. 0 or -errno. */
int pn_poller_change(pn_poller *poller, int fd, void *owner, bool writable);

/* Watch fd for room to write alone, until pn_poller_change. Its end is told
 * all the same, as readable, again and again: remove it then. 0 or -errno. */
int pn_poller_mute(pn_poller *poller, int fd, void *owner);

/* Stop watching, before fd is closed. Unknown descriptors are ignored. Events
 * that wait() has already filled in may still name the owner. */
void pn_poller_remove(pn_poller *poller, int fd);

/* Fill at most max events, and at most PN_POLL_BATCH, waiting timeout_ms at
 * the longest (0: not at all, -1: for ever). Returns how many, 0 also when
 * interrupted, or -errno. */
int pn_poller_wait(pn_poller *poller, pn_poll_event *events, int max,
                   int timeout_ms);

#endif
