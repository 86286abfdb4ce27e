#include "sys/init.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The system call of that name, of Linux 5.9, on all architectures. */
#define CLOSE_RANGE 436

bool
pn_init_is_needed(void)
{
    int subreaper = 0;
    return getpid() == 1 ||
           (prctl(PR_GET_CHILD_SUBREAPER, &subreaper) == 0 && subreaper != 0);
}

/* End as the child did. */
static _Noreturn void
end_like(int status)
{
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    int number = WTERMSIG(status);
    if (getpid() != 1) {
        const struct rlimit none = {0, 0};
        struct sigaction standard = {.sa_handler = SIG_DFL};
        sigset_t mask;
        (void)setrlimit(RLIMIT_CORE, &none); /* one core is enough */
        sigaction(number, &standard, NULL);
        sigemptyset(&mask);
        sigaddset(&mask, number);
        sigprocmask(SIG_UNBLOCK, &mask, NULL);
        raise(number);
    }
    _exit(128 + number);
}

/* Returns once nothing more has ended; not at all if the child has. */
static void
reap(pid_t child)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == child)
            end_like(status);
    }
}

static void
close_all(void)
{
    if (syscall(CLOSE_RANGE, 3u, ~0u, 0u) == 0)
        return;
    long limit = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < (limit > 0 ? limit : 1024); fd++)
        (void)close(fd);
}

/* All signals are blocked. What the terminal sends reaches the child too. */
static _Noreturn void
stay(pid_t child, const sigset_t *all)
{
    close_all();
    for (;;) {
        siginfo_t info;
        reap(child);
        int number = sigwaitinfo(all, &info);
        if (number > 0 && number != SIGCHLD && info.si_code != SI_KERNEL)
            (void)kill(child, number);
    }
}

int
pn_init_go_on(void)
{
    sigset_t all, before;
    struct sigaction standard = {.sa_handler = SIG_DFL}, former;
    pid_t parent = getpid();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    sigaction(SIGCHLD, &standard, &former); /* SIG_IGN would reap unseen */
    pid_t child = fork();
    int err = child < 0 ? -errno : 0;
    if (child > 0)
        stay(child, &all);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1); /* it was killed before the line above */
    }
    sigaction(SIGCHLD, &former, NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return err;
}
