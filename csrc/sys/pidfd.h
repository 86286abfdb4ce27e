/* Process descriptors: a process that cannot be mistaken for a later one
 * with the same number. Where a sandbox refuses them (ENOSYS, EPERM), callers
 * keep the process id and a descriptor of -1. Thread-safe, no state. */
#ifndef PN_SYS_PIDFD_H
#define PN_SYS_PIDFD_H

#include <sys/types.h>

/* A close-on-exec descriptor of the process, readable once it has ended, or
 * -errno. Only its parent, before reaping, can be sure whom it names. */
int pn_pidfd_open(pid_t pid);

/* Send a signal (0 only asks). By the descriptor if pidfd >= 0, else by pid,
 * which is also the way where the system refuses the first. 0 or -errno;
 * -ESRCH once the process was reaped. */
int pn_pidfd_signal(int pidfd, pid_t pid, int signal);

#endif
