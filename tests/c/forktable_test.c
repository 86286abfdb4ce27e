#include "sys/forktable.h"

#include "base/alloc.h"
#include "base/status.h"
#include "check.h"
#include "sys/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pn_forktable table;

/* A channel in the table; its other end is the client's. */
static pn_fork_channel *
add_channel(int *client)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    *client = pair[0];
    CHECK_INT(pn_forktable_add(&table, pair[1]), PN_OK);
    return table.channels;
}

static bool
next_report(int client, pn_fork_report *report, pn_fdpass *fds)
{
    size_t len;
    int err = pn_fdpass_receive(client, report, sizeof *report, &len, fds);
    CHECK(err == PN_OK || err == PN_MORE);
    CHECK(err == PN_MORE || len == sizeof *report);
    return err == PN_OK;
}

/* Enter a child that never ran; its pid is only a number here. */
static void
start(pn_fork_channel *channel, uint64_t token, pid_t pid, int pidfd)
{
    pn_fork_child *child = pn_forktable_reserve(channel, token);
    CHECK(child != NULL);
    pn_forktable_started(&table, child, pid, pidfd);
    CHECK(pn_forktable_check(&table));
}

static void
end(pid_t pid, int status)
{
    struct rusage usage = {.ru_maxrss = 3};
    usage.ru_utime = (struct timeval){.tv_sec = 2, .tv_usec = 5};
    usage.ru_stime = (struct timeval){.tv_sec = 1, .tv_usec = 7};
    pn_forktable_exited(&table, pid, status, &usage);
    CHECK(pn_forktable_check(&table));
}

static void
test_a_life_is_told_in_order(void)
{
    pn_forktable_init(&table);
    int client;
    pn_fork_channel *channel = add_channel(&client);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    start(channel, 77, 1000, null);
    CHECK(fcntl(null, F_GETFD) < 0); /* sent, so closed */
    end(1000, 5 << 8);
    end(1001, 0); /* nobody's child */
    pn_forktable_failed(channel, 78, EAGAIN);

    pn_fork_report r;
    pn_fdpass fds;
    CHECK(next_report(client, &r, &fds));
    CHECK(r.kind == PN_FORK_STARTED && r.token == 77 && r.pid == 1000);
    CHECK_INT(fds.count, 1);
    pn_fdpass_close(&fds);
    CHECK(next_report(client, &r, &fds));
    CHECK(r.kind == PN_FORK_EXITED && r.token == 77 && r.pid == 1000);
    CHECK(r.code == 5 && r.signal == 0 && r.core == 0);
    CHECK(r.utime == 2000005 && r.stime == 1000007 && r.max_rss == 3072);
    CHECK(next_report(client, &r, &fds));
    CHECK(r.kind == PN_FORK_FAILED && r.token == 78 && r.error == EAGAIN);
    CHECK(!next_report(client, &r, &fds));
    pn_forktable_fini(&table);
    close(client);
    CHECK_INT(live_blocks(), 0);
}

static void
test_signal_and_core_are_told(void)
{
    pn_forktable_init(&table);
    int client;
    pn_fork_channel *channel = add_channel(&client);
    pn_fork_report r;
    pn_fdpass fds;
    start(channel, 1, 1000, -1);
    end(1000, SIGSEGV | 0x80);
    CHECK(next_report(client, &r, &fds) && fds.count == 0);
    CHECK(next_report(client, &r, &fds));
    CHECK(r.code == 0 && r.signal == SIGSEGV && r.core == 1);
    pn_forktable_fini(&table);
    close(client);
}

/* Oracle: whatever the socket takes when, each child has one STARTED and
 * then one EXITED. */
static void
test_a_client_that_does_not_read_loses_nothing(void)
{
    enum { CHILDREN = 3000 };
    static int seen[CHILDREN];
    pn_forktable_init(&table);
    int client;
    pn_fork_channel *channel = add_channel(&client);
    int sent = 0;
    int got = 0;
    pn_fork_report r;
    pn_fdpass fds;
    for (pid_t pid = 1; pid <= CHILDREN; pid++, sent++) {
        while (channel->first != NULL) { /* it would not be read now */
            CHECK(next_report(client, &r, &fds));
            CHECK_INT(seen[r.pid - 1]++, r.kind == PN_FORK_EXITED);
            got++;
            pn_forktable_flush(channel);
        }
        start(channel, (uint64_t)pid, pid, -1);
    }
    for (pid_t pid = 1; pid <= CHILDREN; pid++)
        end(pid, SIGKILL);
    CHECK(channel->first != NULL);
    while (got < 2 * CHILDREN) {
        CHECK(next_report(client, &r, &fds));
        CHECK_INT(seen[r.pid - 1]++, r.kind == PN_FORK_EXITED);
        got++;
        pn_forktable_flush(channel);
        if (got % 100 == 0)
            CHECK(pn_forktable_check(&table));
    }
    CHECK(channel->first == NULL);
    pn_forktable_fini(&table);
    close(client);
    CHECK_INT(live_blocks(), 0);
}

static void
test_hung_up_channel_stays_until_its_children_are_reaped(void)
{
    pn_forktable_init(&table);
    int client, other;
    pn_fork_channel *channel = add_channel(&client);
    add_channel(&other);
    start(channel, 1, 1000, -1);
    CHECK_INT(pn_forktable_deadline(&table), PN_FORK_NEVER);
    pn_forktable_hang_up(channel, 500);
    pn_forktable_hang_up(channel, 900); /* the first counts */
    CHECK_INT(pn_forktable_deadline(&table), 500);
    pn_forktable_sweep(&table);
    CHECK_INT(table.channel_count, 2);
    end(1000, 0);
    pn_forktable_sweep(&table);
    CHECK_INT(table.channel_count, 1);
    CHECK(pn_forktable_check(&table));
    pn_forktable_fini(&table);
    close(client);
    close(other);
    CHECK_INT(live_blocks(), 0);
}

static pid_t
stopped_process(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(1);
    }
    int status;
    CHECK_INT(waitpid(pid, &status, WUNTRACED), pid);
    CHECK(WIFSTOPPED(status));
    return pid;
}

static void
test_only_due_children_are_killed(void)
{
    pn_forktable_init(&table);
    int client, other;
    pn_fork_channel *channel = add_channel(&client);
    pid_t due = stopped_process();
    start(channel, 1, due, -1);
    pn_fork_channel *later = add_channel(&other);
    pid_t spared = stopped_process();
    start(later, 2, spared, -1);
    pn_forktable_hang_up(channel, 500);

    int status;
    pn_forktable_kill_due(&table, 499);
    CHECK_INT(waitpid(due, &status, WNOHANG), 0);
    pn_forktable_kill_due(&table, 500);
    CHECK_INT(waitpid(due, &status, 0), due);
    CHECK_INT(WTERMSIG(status), SIGKILL);
    CHECK_INT(pn_forktable_deadline(&table), PN_FORK_NEVER);
    CHECK_INT(waitpid(spared, &status, WNOHANG), 0);
    kill(spared, SIGKILL);
    CHECK_INT(waitpid(spared, &status, 0), spared);
    pn_forktable_fini(&table);
    close(client);
    close(other);
}

static void
test_without_memory_nothing_is_kept(void)
{
    pn_forktable_init(&table);
    int client;
    pn_fork_channel *channel = add_channel(&client);
    fail_after(0);
    CHECK(pn_forktable_reserve(channel, 1) == NULL);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_INT(pn_forktable_add(&table, fd), PN_ENOMEM);
    CHECK(fcntl(fd, F_GETFD) < 0);
    /* Reports need none. */
    pn_forktable_failed(channel, 1, ENOMEM);
    fail_never();
    CHECK(pn_forktable_check(&table));
    pn_forktable_fini(&table);
    close(client);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_a_life_is_told_in_order);
    RUN(test_signal_and_core_are_told);
    RUN(test_a_client_that_does_not_read_loses_nothing);
    RUN(test_hung_up_channel_stays_until_its_children_are_reaped);
    RUN(test_only_due_children_are_killed);
    RUN(test_without_memory_nothing_is_kept);
    return 0;
}
