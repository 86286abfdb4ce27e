/* The world of the tests of the fork server: a server that is a fork of the
 * test's program, its children that do what their links say. */
#ifndef PN_TEST_FORKSERVER_WORLD_H
#define PN_TEST_FORKSERVER_WORLD_H

#include "base/status.h"
#include "check.h"
#include "sys/fdpass.h"
#include "sys/forkclient.h"
#include "sys/forkserver.h"
#include "sys/pidfd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT = 20000 }; /* milliseconds until a test gives up */

/* The server under test, a fork of this program. */
static pid_t server;
static int control = -1;
static pn_forkclient client;

static inline void
make_pair(int *pair)
{
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
}

static inline int
count_descriptors(void)
{
    int count = -3; /* ".", ".." and the directory's own */
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* What a child found, for its test to judge. */
typedef struct {
    int descriptors;
    int death_signal;
    bool sigint_ignored;
    bool unblocked;
    bool stdin_is_null;
} findings;

static inline findings
look_around(void)
{
    findings found = {.descriptors = count_descriptors()};
    struct sigaction interrupt;
    sigset_t mask;
    char byte;
    prctl(PR_GET_PDEATHSIG, &found.death_signal);
    sigaction(SIGINT, NULL, &interrupt);
    found.sigint_ignored = interrupt.sa_handler == SIG_IGN;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    found.unblocked =
        !sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGCHLD);
    found.stdin_is_null = read(STDIN_FILENO, &byte, 1) == 0;
    return found;
}

/* A child does what its link says; the end of file ends it. */
static inline int
child_main(int link, int recorder, bool ahead)
{
    char order;
    while (read(link, &order, 1) == 1) {
        findings found;
        switch (order) {
        case 'e':
            return 42;
        case 'a':
            signal(SIGABRT, SIG_DFL);
            abort();
        case 'o':
            return write(STDOUT_FILENO, "out", 3) == 3 ? 0 : 1;
        case 's':
            return ahead ? 44 : 45;
        case 'r':
            return write(recorder, "rec", 3) == 3 ? 0 : 1;
        default:
            found = look_around();
            if (write(link, &found, sizeof found) != sizeof found)
                return 1;
        }
    }
    return 0;
}

static inline pid_t
plain_fork(void *context)
{
    int *refusals = context;
    if (refusals != NULL && (*refusals)-- > 0) {
        errno = EAGAIN;
        return -1;
    }
    return fork();
}

static inline void
run_server(int fd, int master, int *refusals)
{
    pn_forkserver self = {fd, master, plain_fork, refusals};
    pn_forked child;
    int err = pn_forkserver_serve(&self, &child);
    bool ahead = err == PN_FORKSERVER_CHILD && child.spare >= 0;
    if (ahead && pn_forkspare_wait(child.spare, master, &child) != PN_OK)
        _exit(3);
    if (err == PN_FORKSERVER_CHILD)
        _exit(child_main(child.link, child.recorder, ahead));
    _exit(err == PN_OK ? 0 : 1);
}

static inline void
start_server(int master, int *refusals)
{
    int pair[2];
    make_pair(pair);
    fflush(stdout);
    server = fork();
    CHECK(server >= 0);
    if (server == 0) {
        close(pair[0]);
        run_server(pair[1], master, refusals);
    }
    close(pair[1]);
    control = pair[0];
}

static inline void
open_channel(pn_forkclient *channel)
{
    int pair[2];
    make_pair(pair);
    CHECK_INT(pn_fdpass_send(control, "C", 1, &pair[1], 1), PN_OK);
    close(pair[1]);
    pn_forkclient_init(channel, pair[0]);
}

static inline void
setup(void)
{
    start_server(-1, NULL);
    open_channel(&client);
}

/* The server ends well once its master is gone. */
static inline void
teardown(void)
{
    int status;
    pn_forkclient_close(&client);
    close(control);
    CHECK_INT(waitpid(server, &status, 0), server);
    CHECK_INT(status, 0);
}

static inline bool
readable(int fd, int timeout)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, timeout) == 1;
}

static inline pn_fork_report
next_report(pn_forkclient *channel, int *pidfd)
{
    pn_fork_report report;
    CHECK(readable(channel->fd, WAIT));
    CHECK_INT(pn_forkclient_receive(channel, &report, pidfd), PN_OK);
    return report;
}

typedef struct {
    pid_t pid;
    int pidfd;
    int link;
} started;

static inline started
spawn_recorded(pn_forkclient *channel, uint64_t token, int out, int recorder)
{
    int link[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) == 0);
    int fd[PN_FORK_FDS] = {link[1], -1, out, -1, recorder};
    CHECK_INT(pn_forkclient_spawn(channel, token, fd), PN_OK);
    close(link[1]);
    started child = {.link = link[0]};
    pn_fork_report report = next_report(channel, &child.pidfd);
    CHECK_INT(report.kind, PN_FORK_STARTED);
    CHECK(report.token == token);
    CHECK(child.pidfd >= 0);
    child.pid = report.pid;
    return child;
}

static inline started
spawn(pn_forkclient *channel, uint64_t token, int out)
{
    return spawn_recorded(channel, token, out, -1);
}

static inline void
order(const started *child, char what)
{
    CHECK_INT(write(child->link, &what, 1), 1);
}

static inline void
forget(started *child)
{
    close(child->link);
    close(child->pidfd);
}

static inline void
expect_end(uint64_t token, const started *child, int code, int signal)
{
    int pidfd;
    pn_fork_report report = next_report(&client, &pidfd);
    CHECK_INT(report.kind, PN_FORK_EXITED);
    CHECK(report.token == token && report.pid == child->pid);
    CHECK_INT(report.code, code);
    CHECK_INT(report.signal, signal);
    CHECK(report.max_rss > 4096);
}

#endif
