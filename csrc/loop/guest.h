/* libuv's loop as a guest in ours: one descriptor that becomes readable when
 * one of libuv's handles has something, and that is served then. What it does
 * for us now is to wake a loop from other threads. */
#ifndef PN_LOOP_GUEST_H
#define PN_LOOP_GUEST_H

typedef struct pn_guest pn_guest;

/* A new guest, or NULL with a negative status in *err. */
pn_guest *pn_guest_new(int *err);

/* Close all and free it. NULL is allowed. In a forked child, after
 * pn_guest_forked. */
void pn_guest_free(pn_guest *guest);

/* In a forked child, before pn_guest_free: the descriptors that the parent
 * uses are given back untouched. */
void pn_guest_forked(pn_guest *guest);

/* What to watch for reading. */
int pn_guest_fd(const pn_guest *guest);

/* Make that readable. From any thread and from signal handlers. */
void pn_guest_wake(pn_guest *guest);

/* Do what there is to do, without waiting. Its own thread only. */
void pn_guest_serve(pn_guest *guest);

#endif
