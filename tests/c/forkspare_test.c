#include "sys/forkspare.h"

#include "base/status.h"
#include "check.h"
#include "sys/pidfd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A spare in a process of its own; the server's end of its socket. It exits
 * with 1 if it is not needed; else its link gets its name, its standard
 * output "out", and it exits with 42, or 43 with a recorder. */
static pid_t
make_spare(int *server, int master)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) {
        close(pair[1]);
        *server = pair[0];
        return pid;
    }
    close(pair[0]);
    pn_forkspare_begin();
    pn_forked got;
    if (pn_forkspare_wait(pair[1], master, &got) != PN_OK)
        _exit(1);
    char name[16];
    prctl(PR_GET_NAME, name);
    if (write(got.link, name, sizeof name) != sizeof name || got.spare != -1)
        _exit(2);
    _exit(write(STDOUT_FILENO, "out", 3) != 3 ? 3
          : got.recorder >= 0                 ? 43
                                              : 42);
}

static int
exit_code(pid_t pid)
{
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
test_a_spare_becomes_what_is_asked_for(void)
{
    char own[16], name[16], text[8];
    int server, link[2], out[2];
    prctl(PR_GET_NAME, own);
    pid_t pid = make_spare(&server, -1);
    CHECK(pipe2(link, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    pn_fork_request request = {.kind = PN_FORK_SPAWN};
    request.given =
        1u << PN_FORK_LINK | 1u << PN_FORK_STDOUT | 1u << PN_FORK_RECORDER;
    int fds[] = {link[1], out[1], out[1]};
    CHECK_INT(pn_fdpass_send(server, &request, sizeof request, fds, 3), PN_OK);
    close(server); /* as the server does at once */
    close(link[1]);
    close(out[1]);
    CHECK_INT(read(link[0], name, sizeof name), sizeof name);
    CHECK(strcmp(name, own) == 0);
    CHECK_INT(read(out[0], text, sizeof text), 3);
    CHECK_INT(exit_code(pid), 43);
    close(link[0]);
    close(out[0]);
}

static void
test_a_waiting_spare_is_called_one(void)
{
    int server;
    char path[64], name[16] = "";
    pid_t pid = make_spare(&server, -1);
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    while (strcmp(name, PN_FORK_SPARE_NAME "\n") != 0) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0);
        ssize_t len = read(fd, name, sizeof name - 1);
        CHECK(len > 0);
        name[len] = '\0';
        close(fd);
    }
    close(server);
    CHECK_INT(exit_code(pid), 1);
}

static void
test_a_spare_that_is_let_go_of_ends(void)
{
    int server;
    pid_t pid = make_spare(&server, -1);
    close(server);
    CHECK_INT(exit_code(pid), 1);
}

static void
test_a_spare_ends_with_the_master(void)
{
    int server;
    pid_t master = fork();
    CHECK(master >= 0);
    while (master == 0)
        pause();
    int pidfd = pn_pidfd_open(master);
    CHECK(pidfd >= 0);
    pid_t pid = make_spare(&server, pidfd);
    kill(master, SIGKILL);
    CHECK_INT(exit_code(pid), 1);
    CHECK_INT(waitpid(master, NULL, 0), master);
    close(pidfd);
    close(server);
}

static void
test_an_incomplete_request_is_no_request(void)
{
    int server;
    pid_t pid = make_spare(&server, -1);
    pn_fork_request request = {.kind = PN_FORK_SPAWN, .given = 3};
    int fd = STDIN_FILENO;
    CHECK_INT(pn_fdpass_send(server, &request, sizeof request, &fd, 1), PN_OK);
    CHECK_INT(exit_code(pid), 1);
    close(server);
}

int
main(void)
{
    RUN(test_a_spare_becomes_what_is_asked_for);
    RUN(test_a_waiting_spare_is_called_one);
    RUN(test_a_spare_that_is_let_go_of_ends);
    RUN(test_a_spare_ends_with_the_master);
    RUN(test_an_incomplete_request_is_no_request);
    return 0;
}
