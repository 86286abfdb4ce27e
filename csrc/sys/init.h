/* The first process of a container, or a subreaper: what others leave behind
 * becomes its child. Who waits for certain children only never reaps that;
 * who waits for any takes the statuses for which others wait. So the process
 * divides itself: the program goes on in a child, and what stays reaps,
 * passes signals on, and ends as the program does. */
#ifndef PN_SYS_INIT_H
#define PN_SYS_INIT_H

#include <stdbool.h>

/* Whether orphans become children of this process. */
bool pn_init_is_needed(void);

/* Go on in a child: 0 there, or -errno if there is none. What stays never
 * returns: it closes its descriptors but the standard streams, reaps all that
 * ends, sends the child each signal that some process sends to it, and ends
 * with the child's exit code, or by its signal (a first process, which no
 * signal ends, with 128 and its number). If it is killed, so is the child.
 *
 * For a process with one thread. Nothing of who calls is run in what stays:
 * no buffer is flushed, no handler called. */
int pn_init_go_on(void);

#endif
