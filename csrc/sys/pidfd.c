#include "sys/pidfd.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* System calls by number: glibc has the wrappers only since 2.36. */

int
pn_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

static bool
refused(int error)
{
    return error == ENOSYS || error == EPERM;
}

int
pn_pidfd_signal(int pidfd, pid_t pid, int signal)
{
    if (pidfd >= 0) {
        if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0)
            return 0;
        if (!refused(errno) || pid <= 0)
            return -errno;
    }
    if (pid <= 0) /* to kill(), a whole group */
        return -EINVAL;
    return kill(pid, signal) < 0 ? -errno : 0;
}
