#include "sys/forkserver.h"

#include "base/status.h"
#include "check.h"
#include "sys/fdpass.h"
#include "sys/forkclient.h"
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

static void
make_pair(int *pair)
{
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
}

static int
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

static findings
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
static int
child_main(int link, int recorder)
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
            return write(STDOUT_FILENO, "out", 3) == 3 &&
                           write(recorder, "rec", 3) == 3
                       ? 0
                       : 1;
        default:
            found = look_around();
            if (write(link, &found, sizeof found) != sizeof found)
                return 1;
        }
    }
    return 0;
}

static pid_t
plain_fork(void *context)
{
    int *refusals = context;
    if (refusals != NULL && (*refusals)-- > 0) {
        errno = EAGAIN;
        return -1;
    }
    return fork();
}

static void
run_server(int fd, int master, int *refusals)
{
    pn_forkserver self = {fd, master, plain_fork, refusals};
    pn_forked child;
    int err = pn_forkserver_serve(&self, &child);
    if (err == PN_FORKSERVER_CHILD)
        _exit(child_main(child.link, child.recorder));
    _exit(err == PN_OK ? 0 : 1);
}

static void
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

static void
open_channel(pn_forkclient *channel)
{
    int pair[2];
    make_pair(pair);
    CHECK_INT(pn_fdpass_send(control, "C", 1, &pair[1], 1), PN_OK);
    close(pair[1]);
    pn_forkclient_init(channel, pair[0]);
}

static void
setup(void)
{
    start_server(-1, NULL);
    open_channel(&client);
}

/* The server ends well once its master is gone. */
static void
teardown(void)
{
    int status;
    pn_forkclient_close(&client);
    close(control);
    CHECK_INT(waitpid(server, &status, 0), server);
    CHECK_INT(status, 0);
}

static bool
readable(int fd, int timeout)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, timeout) == 1;
}

static pn_fork_report
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

static started
spawn(pn_forkclient *channel, uint64_t token, int out)
{
    int link[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) == 0);
    int fd[PN_FORK_FDS] = {link[1], -1, out, -1, out};
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

static void
order(const started *child, char what)
{
    CHECK_INT(write(child->link, &what, 1), 1);
}

static void
forget(started *child)
{
    close(child->link);
    close(child->pidfd);
}

static void
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

static void
test_ends_are_reported_with_code_and_signal(void)
{
    setup();
    started a = spawn(&client, 1, -1);
    started b = spawn(&client, ~0ull, -1);
    order(&a, 'e');
    expect_end(1, &a, 42, 0);
    CHECK(readable(a.pidfd, 0));
    order(&b, 'a');
    expect_end(~0ull, &b, 0, SIGABRT);
    CHECK_INT(kill(b.pid, 0), -1); /* reaped */
    forget(&a);
    forget(&b);
    teardown();
}

static void
test_child_is_a_process_of_its_own(void)
{
    setup();
    started other = spawn(&client, 1, -1);
    started child = spawn(&client, 2, -1);
    findings found;
    order(&child, 'l');
    CHECK_INT(read(child.link, &found, sizeof found), sizeof found);
    /* No descriptor but its streams, its link and what this test has. */
    int inherited = count_descriptors() - 3 - 2 * 2 - 2;
    CHECK_INT(found.descriptors, 3 + 1 + inherited);
    CHECK_INT(found.death_signal, SIGKILL);
    CHECK(found.sigint_ignored && found.unblocked && found.stdin_is_null);
    forget(&child);
    forget(&other);
    teardown();
}

static void
test_given_descriptors_are_in_place(void)
{
    setup();
    int out[2];
    char text[8];
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    started child = spawn(&client, 1, out[1]);
    close(out[1]);
    order(&child, 'o');
    expect_end(1, &child, 0, 0);
    CHECK_INT(read(out[0], text, sizeof text), 6);
    CHECK(memcmp(text, "outrec", 6) == 0);
    CHECK_INT(read(out[0], text, sizeof text), 0);
    close(out[0]);
    forget(&child);
    teardown();
}

static void
expect_failure(const int *fd, int error)
{
    int pidfd;
    CHECK_INT(pn_forkclient_spawn(&client, 9, fd), PN_OK);
    pn_fork_report report = next_report(&client, &pidfd);
    CHECK(report.kind == PN_FORK_FAILED && report.token == 9);
    CHECK_INT(report.error, error);
}

static void
test_refused_requests_are_answered(void)
{
    int refusals = 1;
    start_server(-1, &refusals);
    open_channel(&client);
    expect_failure((int[PN_FORK_FDS]){control, -1, -1, -1, -1}, EAGAIN);
    expect_failure((int[PN_FORK_FDS]){-1, -1, -1, -1, -1}, EINVAL);
    started child = spawn(&client, 10, -1);
    forget(&child);
    teardown();
}

static void
test_malformed_request_ends_its_channel_only(void)
{
    setup();
    pn_forkclient bad;
    open_channel(&bad);
    CHECK_INT(pn_fdpass_send(bad.fd, "nonsense", 8, NULL, 0), PN_OK);
    CHECK(readable(bad.fd, WAIT));
    pn_fork_report report;
    int pidfd;
    CHECK_INT(pn_forkclient_receive(&bad, &report, &pidfd), PN_ECLOSED);
    pn_forkclient_close(&bad);
    started child = spawn(&client, 1, -1);
    forget(&child);
    teardown();
}

static void
test_children_of_a_gone_arbiter_are_killed(void)
{
    setup();
    pn_forkclient other;
    open_channel(&other);
    started mine = spawn(&client, 1, -1);
    started stuck = spawn(&other, 2, -1);
    started stopped = spawn(&other, 3, -1);
    kill(stopped.pid, SIGSTOP); /* now only SIGKILL ends it */
    pn_forkclient_close(&other);
    CHECK(readable(stuck.pidfd, WAIT));
    CHECK(readable(stopped.pidfd, WAIT));
    CHECK(!readable(mine.pidfd, 0));
    forget(&stuck);
    forget(&stopped);
    forget(&mine);
    teardown();
}

static void
test_end_of_control_ends_all(void)
{
    setup();
    started stuck = spawn(&client, 1, -1);
    started stopped = spawn(&client, 2, -1);
    kill(stopped.pid, SIGSTOP); /* now only SIGKILL ends it */
    close(control);
    control = -1;
    CHECK(readable(stuck.pidfd, WAIT));
    CHECK(readable(stopped.pidfd, WAIT));
    forget(&stuck);
    forget(&stopped);
    teardown();
}

static void
test_death_of_the_master_ends_all(void)
{
    pid_t master = fork();
    CHECK(master >= 0);
    if (master == 0) {
        for (;;)
            pause();
    }
    int pidfd = pn_pidfd_open(master);
    CHECK(pidfd >= 0);
    start_server(pidfd, NULL);
    open_channel(&client);
    started child = spawn(&client, 1, -1);
    kill(master, SIGKILL);
    CHECK(readable(child.pidfd, WAIT)); /* the control socket is still open */
    waitpid(master, NULL, 0);
    close(pidfd);
    forget(&child);
    teardown();
}

static void
test_death_of_the_server_ends_children_and_channels(void)
{
    setup();
    started child = spawn(&client, 1, -1);
    kill(server, SIGKILL);
    CHECK_INT(waitpid(server, NULL, 0), server);
    CHECK(readable(child.pidfd, WAIT));
    CHECK(readable(client.fd, WAIT));
    pn_fork_report report;
    int pidfd;
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_ECLOSED);
    pn_forkclient_close(&client);
    close(control);
    forget(&child);
}

static void
test_signals_do_not_end_the_server(void)
{
    setup();
    started first = spawn(&client, 0, -1); /* so that it serves by now */
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        kill(server, signals[i]);
    started child = spawn(&client, 1, -1);
    kill(child.pid, SIGTERM); /* a child's are its own */
    expect_end(1, &child, 0, SIGTERM);
    forget(&child);
    forget(&first);
    /* What stayed pending comes when serving has ended. */
    pn_forkclient_close(&client);
    close(control);
    CHECK_INT(waitpid(server, NULL, 0), server);
}

enum { LIVES = 100 };

/* What was told of each life: 0 nothing, 1 STARTED, 2 EXITED. */
typedef struct {
    int told[LIVES];
    pid_t pid[LIVES];
    bool killed[LIVES];
} lives;

static void
take_report(lives *all)
{
    int pidfd;
    pn_fork_report report = next_report(&client, &pidfd);
    uint64_t i = report.token;
    CHECK(i < LIVES);
    CHECK_INT(all->told[i]++, report.kind == PN_FORK_EXITED);
    if (report.kind == PN_FORK_STARTED) {
        all->pid[i] = report.pid;
        close(pidfd);
        return;
    }
    CHECK_INT(report.pid, all->pid[i]);
    CHECK_INT(report.signal, all->killed[i] ? SIGKILL : 0);
}

static void
test_random_lives_are_told_once(void)
{
    test_random random;
    test_random_init(&random);
    lives all = {.told = {0}};
    int link[LIVES];
    setup();
    for (int i = 0; i < LIVES; i++) {
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        int fd[PN_FORK_FDS] = {pair[1], -1, -1, -1, -1};
        CHECK_INT(pn_forkclient_spawn(&client, (uint64_t)i, fd), PN_OK);
        close(pair[1]);
        link[i] = pair[0];
        size_t victim = test_random_next(&random) % LIVES;
        if (all.told[victim] == 1 && kill(all.pid[victim], SIGKILL) == 0)
            all.killed[victim] = true;
        while (readable(client.fd, test_random_next(&random) % 2 ? 0 : 1))
            take_report(&all);
    }
    for (int i = 0; i < LIVES; i++)
        close(link[i]); /* the rest ends by itself */
    for (int i = 0; i < LIVES; i++)
        while (all.told[i] < 2)
            take_report(&all);
    teardown();
}

int
main(void)
{
    RUN(test_ends_are_reported_with_code_and_signal);
    RUN(test_child_is_a_process_of_its_own);
    RUN(test_given_descriptors_are_in_place);
    RUN(test_refused_requests_are_answered);
    RUN(test_malformed_request_ends_its_channel_only);
    RUN(test_children_of_a_gone_arbiter_are_killed);
    RUN(test_end_of_control_ends_all);
    RUN(test_death_of_the_master_ends_all);
    RUN(test_death_of_the_server_ends_children_and_channels);
    RUN(test_signals_do_not_end_the_server);
    RUN(test_random_lives_are_told_once);
    return 0;
}
