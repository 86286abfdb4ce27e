/* Descriptors that travel over a link beside its bytes: those that wait to
 * leave, and those that came and wait for the frame that names them. Both ends
 * number them from 1 in the order of their leaving, and a frame names its own
 * by that serial (extension.h), for control overtakes payload. No I/O but
 * close(); loop thread only.
 *   - each descriptor here is owned by this struct until it has left, is
 *     claimed, or is closed with all others;
 *   - a descriptor leaves ahead of its frame or with it, so one that has not
 *     come by then is lost, and with it those before it;
 *   - after a loss at the sender no more are taken until every frame that may
 *     name a lost one has left, so that both ends go on counting alike. */
#ifndef PN_SYS_DESCRIPTORS_H
#define PN_SYS_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Attached since the outbox was last empty, at most: so many frames may be
 * under way that name one. */
#define PN_DESCRIPTORS_LEAVING 32

/* Come and not claimed, at most: no correct peer has more there. */
#define PN_DESCRIPTORS_COME 64

typedef struct {
    uint64_t serial;
    int fd;
} pn_descriptor;

typedef struct {
    int leaving[PN_DESCRIPTORS_LEAVING]; /* a ring */
    size_t first;
    size_t waiting;
    size_t attached; /* since rest() */
    uint64_t last_attached;
    bool resting; /* after a loss: takes none until rest() */
    pn_descriptor come[PN_DESCRIPTORS_COME];
    size_t come_count;
    uint64_t last_come;
} pn_descriptors;

/* All zeros is a valid empty one; this closes every descriptor in it, and
 * forgets what was counted. */
void pn_descriptors_close(pn_descriptors *fds);

/* --- the sender --- */

/* Own fd and number it, for the frame that is put next. PN_EFULL: not now,
 * and the caller keeps fd. */
int pn_descriptors_attach(pn_descriptors *fds, int fd, uint64_t *serial);

/* Give the descriptor that was attached last back, if it has not left: its
 * frame could not be put. -1 if it has. */
int pn_descriptors_retract(pn_descriptors *fds);

/* The one that leaves next, borrowed; -1 if none waits. */
int pn_descriptors_next(const pn_descriptors *fds);

/* That one has left: ours is closed. */
void pn_descriptors_left(pn_descriptors *fds);

/* The kernel takes none: those that wait are closed, and their frames leave
 * without them. */
void pn_descriptors_lose(pn_descriptors *fds);

/* Every frame that was put has left. */
void pn_descriptors_rest(pn_descriptors *fds);

/* --- the receiver --- */

/* The next one has come, or (-1) was lost on its way. PN_EPROTO: too many lie
 * here; fd is closed. */
int pn_descriptors_came(pn_descriptors *fds, int fd);

/* The descriptor that a frame names, which passes to the caller, or -1: it
 * was lost, or claimed before. */
int pn_descriptors_claim(pn_descriptors *fds, uint64_t serial);

/* For tests: whether the counts hold together. */
bool pn_descriptors_check(const pn_descriptors *fds);

#endif
