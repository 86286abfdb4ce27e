/* Descriptors that a loop watches for its users: an epoll set, and for each
 * descriptor who waits for reading and who for writing. Descriptors belong to
 * others, who may close them at any time and use their numbers again; that
 * never harms more than their own watch. Owns none of the waiters. Loop
 * thread only.
 *   - a waiter is never NULL;
 *   - a descriptor is in the set exactly while it has a waiter, unless its
 *     owner closed it. */
#ifndef PN_LOOP_WATCHES_H
#define PN_LOOP_WATCHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Events of one wait, at most; the kernel gives the others their turn. */
#define PN_WATCH_EVENTS 128

typedef struct {
    void *waiters[2]; /* for reading, for writing; NULL: nobody */
} pn_watch;

typedef struct {
    int epoll;       /* -1: forgotten, nothing is watched */
    bool coarse;     /* this kernel waits in whole milliseconds */
    pn_watch *items; /* by descriptor */
    size_t count;
} pn_watches;

typedef struct {
    int fd;
    bool readable; /* bytes, an end or an error: for who waits to read */
    bool writable; /* room, an end or an error */
} pn_watch_event;

/* 0 or -errno. */
int pn_watches_init(pn_watches *watches);

/* Close the set, forget all. All zeros with epoll -1 is left; waiters are
 * the caller's to give back before. */
void pn_watches_free(pn_watches *watches);

/* After a fork, in the child: close the set, which is the parent's, without
 * touching what is in it. Who waits is remembered, but nothing comes. */
void pn_watches_forget(pn_watches *watches);

/* Have waiter wait for fd, which is not negative. *old is who did before, or
 * NULL. 0, or a negative status that changed nothing: PN_ENOMEM or -errno,
 * -EPERM for a descriptor that cannot be waited for. */
int pn_watches_add(pn_watches *watches, int fd, bool writing, void *waiter,
                   void **old);

/* Nobody waits for that any more. Returns who did, or NULL. */
void *pn_watches_remove(pn_watches *watches, int fd, bool writing);

/* Who waits; NULL: nobody. Any fd. */
void *pn_watches_get(const pn_watches *watches, int fd, bool writing);

/* Wait at most ns (0: look only, negative: for ever) and fill events, of
 * which there are PN_WATCH_EVENTS. How many, or -errno, -EINTR if a signal
 * came. */
int pn_watches_wait(pn_watches *watches, pn_watch_event *events, int64_t ns);

#endif
