#include "sys/forkclient.h"

#include "base/status.h"
#include "check.h"
#include "sys/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static pn_forkclient client;
static int server; /* the other end, played by the test */
static int null;

static void
open_client(void)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    pn_forkclient_init(&client, pair[0]);
    server = pair[1];
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
close_all(void)
{
    pn_forkclient_close(&client);
    pn_forkclient_close(&client);
    close(server);
    close(null);
    CHECK_INT(live_blocks(), 0);
}

static void
send_report(uint32_t kind, uint64_t token, int fd)
{
    pn_fork_report report = {.kind = kind, .token = token};
    CHECK_INT(pn_fdpass_send(server, &report, sizeof report, &fd, fd >= 0),
              PN_OK);
}

static bool
next_request(pn_fork_request *request, pn_fdpass *fds)
{
    size_t len;
    return pn_fdpass_receive(server, request, sizeof *request, &len, fds) ==
           PN_OK;
}

static void
test_nothing_waits_where_no_answer_is_to_come(void)
{
    open_client();
    int fd[PN_FORK_FDS] = {null, -1, -1, -1, -1};
    int err = PN_OK;
    for (int i = 0; i < 100000 && err == PN_OK; i++)
        err = pn_forkclient_reserve(&client, 1);
    CHECK_INT(err, -EAGAIN);
    CHECK_INT(pn_forkclient_spawn(&client, 1, fd), -EAGAIN);
    CHECK(client.first == NULL);
    pn_fork_request request;
    pn_fdpass fds;
    while (next_request(&request, &fds))
        CHECK_INT(request.kind, PN_FORK_RESERVE);
    CHECK_INT(pn_forkclient_spawn(&client, 1, fd), PN_OK);
    CHECK(next_request(&request, &fds));
    CHECK_INT(request.kind, PN_FORK_SPAWN);
    pn_fdpass_close(&fds);
    close_all();
}

static void
test_only_given_descriptors_travel(void)
{
    open_client();
    int fd[PN_FORK_FDS] = {null, -1, null, -1, -1};
    CHECK_INT(pn_forkclient_spawn(&client, 1ull << 63, fd), PN_OK);
    pn_fork_request request;
    pn_fdpass fds;
    CHECK(next_request(&request, &fds));
    CHECK(request.kind == PN_FORK_SPAWN && request.token == 1ull << 63);
    CHECK_INT(request.given, 1u << PN_FORK_LINK | 1u << PN_FORK_STDOUT);
    CHECK_INT(fds.count, 2);
    pn_fdpass_close(&fds);
    close_all();
}

static void
test_reports_come_with_their_descriptor(void)
{
    open_client();
    pn_fork_report report;
    int pidfd;
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_MORE);
    send_report(PN_FORK_STARTED, 5, null);
    send_report(PN_FORK_EXITED, 5, -1);
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_OK);
    CHECK(report.kind == PN_FORK_STARTED && pidfd >= 0);
    close(pidfd);
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_OK);
    CHECK(report.kind == PN_FORK_EXITED && pidfd == -1);
    close_all();
}

static void
test_dead_server_is_closed_after_its_last_report(void)
{
    open_client();
    int fd[PN_FORK_FDS] = {null, -1, -1, -1, -1};
    send_report(PN_FORK_EXITED, 5, -1);
    shutdown(server, SHUT_RDWR);
    pn_fork_report report;
    int pidfd;
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_OK);
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_ECLOSED);
    CHECK_INT(pn_forkclient_spawn(&client, 1, fd), -EPIPE);
    pn_forkclient_close(&client);
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_ECLOSED);
    CHECK_INT(pn_forkclient_spawn(&client, 1, fd), PN_ECLOSED);
    close_all();
}

static void
test_a_message_that_is_no_report_is_an_error(void)
{
    open_client();
    pn_fork_report report;
    char big[sizeof report + 1] = {0};
    int pidfd;
    CHECK_INT(pn_fdpass_send(server, "short", 5, &null, 1), PN_OK);
    CHECK_INT(pn_fdpass_send(server, big, sizeof big, NULL, 0), PN_OK);
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_EPROTO);
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_EPROTO);
    CHECK_INT(pidfd, -1);
    close_all();
}

/* Ask until the socket is full and `more` requests wait. Returns how many
 * were asked for. */
static uint64_t
fill(int more)
{
    int fd[PN_FORK_FDS] = {null, -1, -1, -1, -1};
    uint64_t asked = 0;
    while (client.first == NULL)
        CHECK_INT(pn_forkclient_spawn(&client, asked++, fd), PN_OK);
    for (int i = 1; i < more; i++)
        CHECK_INT(pn_forkclient_spawn(&client, asked++, fd), PN_OK);
    return asked;
}

static void
test_requests_that_wait_leave_in_order_with_the_reports(void)
{
    open_client();
    uint64_t asked = fill(100);
    uint64_t answered = 0;
    while (answered < asked) {
        pn_fork_request request;
        pn_fdpass fds;
        CHECK(next_request(&request, &fds));
        CHECK_INT(request.token, answered);
        CHECK_INT(fds.count, 1);
        pn_fdpass_close(&fds);
        send_report(PN_FORK_FAILED, request.token, -1);

        pn_fork_report report;
        int pidfd;
        CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_OK);
        CHECK_INT(report.token, answered++);
        CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_MORE);
    }
    CHECK(client.first == NULL && client.unanswered == 0);
    close_all();
}

static void
test_close_gives_up_what_waits(void)
{
    open_client();
    fill(10);
    int next = dup(null);
    close_all();
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd < next); /* the copies are closed */
    close(fd);
    close(next);
}

static void
test_without_memory_a_full_socket_refuses(void)
{
    open_client();
    int fd[PN_FORK_FDS] = {null, -1, -1, -1, -1};
    fill(1);
    fail_after(0);
    CHECK_INT(pn_forkclient_spawn(&client, 1, fd), PN_ENOMEM);
    fail_never();
    close_all();
}

static void
test_bad_descriptor_is_told_at_once(void)
{
    open_client();
    int fd[PN_FORK_FDS] = {null, -1, -1, -1, -1};
    int bad = dup(null);
    close(bad);
    fd[PN_FORK_STDERR] = bad;
    CHECK_INT(pn_forkclient_spawn(&client, 1, fd), -EBADF);
    fd[PN_FORK_STDERR] = -1;
    fill(1);
    fd[PN_FORK_STDERR] = 100000;
    CHECK_INT(pn_forkclient_spawn(&client, 1, fd), -EBADF);
    close_all();
}

int
main(void)
{
    RUN(test_nothing_waits_where_no_answer_is_to_come);
    RUN(test_only_given_descriptors_travel);
    RUN(test_reports_come_with_their_descriptor);
    RUN(test_dead_server_is_closed_after_its_last_report);
    RUN(test_a_message_that_is_no_report_is_an_error);
    RUN(test_requests_that_wait_leave_in_order_with_the_reports);
    RUN(test_close_gives_up_what_waits);
    RUN(test_without_memory_a_full_socket_refuses);
    RUN(test_bad_descriptor_is_told_at_once);
    return 0;
}
