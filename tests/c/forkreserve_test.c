#include "sys/forkreserve.h"

#include "base/alloc.h"
#include "base/status.h"
#include "check.h"
#include "sys/forktable.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pn_forkreserve reserve;

/* A process that waits to be killed. */
static pid_t
make_process(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    while (pid == 0)
        pause();
    return pid;
}

/* Enter a spare; the spare's end of its socket. */
static int
add(pid_t pid)
{
    int pair[2];
    pn_fork_spare *spare = pn_alloc_zeroed(1, sizeof *spare);
    CHECK(spare != NULL);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    spare->pid = pid;
    spare->pidfd = dup(pair[0]); /* any descriptor */
    spare->fd = pair[0];
    pn_forkreserve_add(&reserve, spare);
    CHECK(pn_forkreserve_check(&reserve));
    return pair[1];
}

static bool
is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static bool
give(pid_t *pid, int *pidfd)
{
    pn_fork_request request = {.kind = PN_FORK_SPAWN, .given = 1, .token = 7};
    pn_fdpass fds = {.fd = {STDIN_FILENO}, .count = 1};
    bool given = pn_forkreserve_give(&reserve, &request, &fds, pid, pidfd);
    CHECK(pn_forkreserve_check(&reserve));
    return given;
}

static void
expect_request(int fd)
{
    pn_fork_request request;
    size_t len;
    pn_fdpass fds;
    CHECK_INT(pn_fdpass_receive(fd, &request, sizeof request, &len, &fds),
              PN_OK);
    CHECK(request.token == 7 && fds.count == 1);
    pn_fdpass_close(&fds);
    close(fd);
}

static void
test_the_oldest_spare_gets_the_request(void)
{
    pn_forkreserve_init(&reserve);
    int first = add(101), second = add(102);
    pid_t pid;
    int pidfd;
    CHECK(give(&pid, &pidfd));
    CHECK_INT(pid, 101);
    CHECK(fcntl(pidfd, F_GETFD) >= 0);
    close(pidfd);
    expect_request(first);
    CHECK(give(&pid, &pidfd));
    CHECK_INT(pid, 102);
    close(pidfd);
    expect_request(second);
    CHECK(!give(&pid, &pidfd));
}

static void
test_a_spare_that_does_not_take_is_passed_over(void)
{
    pn_forkreserve_init(&reserve);
    pid_t broken = make_process();
    close(add(broken));
    int good = add(103), status;
    pid_t pid;
    int pidfd;
    CHECK(give(&pid, &pidfd));
    CHECK_INT(pid, 103);
    close(pidfd);
    expect_request(good);
    CHECK_INT(waitpid(broken, &status, 0), broken);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void
test_what_is_too_much_is_killed(void)
{
    pn_forkreserve_init(&reserve);
    pid_t old = make_process(), young = make_process();
    int first = add(old), second = add(young), status;
    pn_forkreserve_want(&reserve, 1);
    CHECK(pn_forkreserve_check(&reserve));
    CHECK_INT(reserve.count, 1);
    CHECK(is_closed(first) && !is_closed(second));
    CHECK_INT(waitpid(old, &status, 0), old);
    pn_forkreserve_fini(&reserve);
    CHECK(is_closed(second));
    CHECK_INT(waitpid(young, &status, 0), young);
    close(first);
    close(second);
}

static void
test_one_that_has_ended_is_forgotten(void)
{
    pn_forkreserve_init(&reserve);
    int ends[3] = {add(104), add(105), add(106)};
    CHECK(!pn_forkreserve_exited(&reserve, 107));
    for (int i = 2; i >= 0; i -= 2) {
        CHECK(pn_forkreserve_exited(&reserve, 104 + i));
        CHECK(pn_forkreserve_check(&reserve));
        CHECK(is_closed(ends[i]));
    }
    CHECK(pn_forkreserve_exited(&reserve, 105));
    CHECK(reserve.count == 0 && pn_forkreserve_check(&reserve));
    for (int i = 0; i < 3; i++)
        close(ends[i]);
}

static void
test_another_is_due_once_it_is_calm(void)
{
    pn_forkreserve_init(&reserve);
    CHECK(pn_forkreserve_due(&reserve) == PN_FORK_NEVER);
    pn_forkreserve_want(&reserve, 1);
    pn_forkreserve_wait(&reserve, 1000, PN_FORK_CALM);
    CHECK_INT(pn_forkreserve_due(&reserve), 1000 + PN_FORK_CALM);
    int end = add(108);
    CHECK(pn_forkreserve_due(&reserve) == PN_FORK_NEVER);
    CHECK(pn_forkreserve_exited(&reserve, 108));
    close(end);
}

static void
test_abandoning_closes_and_kills_nobody(void)
{
    pn_forkreserve_init(&reserve);
    int end = add(109);
    pn_forkreserve_abandon(&reserve);
    CHECK(is_closed(end));
    CHECK_INT(reserve.count, 1);
    pn_free(reserve.first);
    close(end);
}

int
main(void)
{
    RUN(test_the_oldest_spare_gets_the_request);
    RUN(test_a_spare_that_does_not_take_is_passed_over);
    RUN(test_what_is_too_much_is_killed);
    RUN(test_one_that_has_ended_is_forgotten);
    RUN(test_another_is_due_once_it_is_calm);
    RUN(test_abandoning_closes_and_kills_nobody);
    CHECK_INT(live_blocks(), 0);
    return 0;
}
