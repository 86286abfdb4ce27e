#include "sys/pidfd.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that waits for its signal. */
static pid_t
sleeper(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (;;)
            pause();
    }
    return pid;
}

static bool
ended(int pidfd, int timeout)
{
    struct pollfd polled = {.fd = pidfd, .events = POLLIN};
    return poll(&polled, 1, timeout) == 1;
}

static int
reap(pid_t pid)
{
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return status;
}

static void
test_descriptor_is_close_on_exec_and_tells_the_end(void)
{
    pid_t pid = sleeper();
    int pidfd = pn_pidfd_open(pid);
    CHECK(pidfd >= 0);
    CHECK(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
    CHECK(!ended(pidfd, 0));

    CHECK_INT(pn_pidfd_signal(pidfd, pid, 0), 0);
    CHECK_INT(pn_pidfd_signal(pidfd, pid, SIGKILL), 0);
    CHECK(ended(pidfd, 10000));
    CHECK_INT(WTERMSIG(reap(pid)), SIGKILL);
    CHECK_INT(pn_pidfd_signal(pidfd, pid, SIGKILL), -ESRCH);
    close(pidfd);
}

static void
test_without_a_descriptor_the_pid_is_signalled(void)
{
    pid_t pid = sleeper();
    CHECK_INT(pn_pidfd_signal(-1, pid, SIGTERM), 0);
    CHECK_INT(WTERMSIG(reap(pid)), SIGTERM);
    CHECK_INT(pn_pidfd_signal(-1, pid, SIGTERM), -ESRCH);
}

static void
test_pids_of_groups_are_refused(void)
{
    CHECK_INT(pn_pidfd_signal(-1, 0, SIGTERM), -EINVAL);
    CHECK_INT(pn_pidfd_signal(-1, -1, SIGTERM), -EINVAL);
}

static void
test_open_of_no_process_fails(void)
{
    pid_t pid = sleeper();
    kill(pid, SIGKILL);
    reap(pid);
    CHECK_INT(pn_pidfd_open(pid), -ESRCH);
    CHECK_INT(pn_pidfd_open(-1), -EINVAL);
}

static void
test_wrong_descriptor_is_an_error(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_INT(pn_pidfd_signal(fd, getpid(), 0), -EBADF);
    close(fd);
}

/* For the rest of this process pidfd calls give EPERM, as in a sandbox. */
static void
refuse_pidfd(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_send_signal, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void
test_where_the_system_refuses_the_pid_is_signalled(void)
{
    pid_t pid = sleeper();
    int pidfd = pn_pidfd_open(pid);
    pid_t sandboxed = fork();
    CHECK(sandboxed >= 0);
    if (sandboxed == 0) {
        refuse_pidfd();
        CHECK_INT(pn_pidfd_open(pid), -EPERM);
        CHECK_INT(pn_pidfd_signal(pidfd, 0, SIGTERM), -EPERM);
        CHECK_INT(pn_pidfd_signal(pidfd, pid, SIGTERM), 0);
        _exit(0);
    }
    CHECK_INT(reap(sandboxed), 0);
    CHECK_INT(WTERMSIG(reap(pid)), SIGTERM);
    close(pidfd);
}

int
main(void)
{
    RUN(test_descriptor_is_close_on_exec_and_tells_the_end);
    RUN(test_without_a_descriptor_the_pid_is_signalled);
    RUN(test_pids_of_groups_are_refused);
    RUN(test_open_of_no_process_fails);
    RUN(test_wrong_descriptor_is_an_error);
    RUN(test_where_the_system_refuses_the_pid_is_signalled);
    return 0;
}
