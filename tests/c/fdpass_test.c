#include "sys/fdpass.h"

#include "base/status.h"
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int a, b; /* the two ends, of each test's own */

static void
make_pair(void)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    a = pair[0];
    b = pair[1];
}

static void
close_pair(void)
{
    close(a);
    close(b);
}

static int
open_null(void)
{
    int fd = open("/dev/null", O_RDONLY);
    CHECK(fd >= 0);
    return fd;
}

static size_t
descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static int
receive(char *buf, size_t size, size_t *len, pn_fdpass *fds)
{
    return pn_fdpass_receive(b, buf, size, len, fds);
}

static void
test_message_and_descriptors_arrive_close_on_exec(void)
{
    make_pair();
    int null = open_null();
    int sent[] = {null, a, null};
    char buf[8];
    size_t len;
    pn_fdpass fds;
    CHECK_INT(pn_fdpass_send(a, "hello", 5, sent, 3), PN_OK);
    CHECK_INT(receive(buf, sizeof buf, &len, &fds), PN_OK);
    CHECK_INT(len, 5);
    CHECK(memcmp(buf, "hello", 5) == 0);
    CHECK_INT(fds.count, 3);
    CHECK(!fds.cut);
    for (size_t i = 0; i < 3; i++) {
        struct stat original, copy;
        fstat(sent[i], &original);
        fstat(fds.fd[i], &copy);
        CHECK(original.st_ino == copy.st_ino && fds.fd[i] != sent[i]);
        CHECK(fcntl(fds.fd[i], F_GETFD) & FD_CLOEXEC);
    }
    pn_fdpass_close(&fds);
    CHECK_INT(fds.count, 0);
    close(null);
    close_pair();
}

static void
test_every_count_up_to_the_maximum_arrives(void)
{
    make_pair();
    int null = open_null();
    int sent[PN_FDPASS_MAX];
    for (size_t i = 0; i < PN_FDPASS_MAX; i++)
        sent[i] = null;
    for (size_t count = 0; count <= PN_FDPASS_MAX; count++) {
        char byte;
        size_t len;
        pn_fdpass fds;
        CHECK_INT(pn_fdpass_send(a, "x", 1, sent, count), PN_OK);
        CHECK_INT(receive(&byte, 1, &len, &fds), PN_OK);
        CHECK_INT(fds.count, count);
        pn_fdpass_close(&fds);
    }
    CHECK_INT(pn_fdpass_send(a, "x", 1, sent, PN_FDPASS_MAX + 1), -EINVAL);
    close(null);
    close_pair();
}

static void
test_empty_end_and_broken_pipe_are_told_apart(void)
{
    make_pair();
    char byte;
    size_t len;
    pn_fdpass fds;
    CHECK_INT(receive(&byte, 1, &len, &fds), PN_MORE);
    CHECK_INT(pn_fdpass_send(a, "x", 0, NULL, 0), -EINVAL);
    close(a);
    CHECK_INT(receive(&byte, 1, &len, &fds), PN_ECLOSED);
    CHECK_INT(pn_fdpass_send(b, "x", 1, NULL, 0), -EPIPE);
    close(b);
    CHECK_INT(pn_fdpass_send(b, "x", 1, NULL, 0), -EBADF);
}

static void
test_messages_of_a_peer_that_left_some_unread_arrive(void)
{
    make_pair();
    char byte = 0;
    size_t len;
    pn_fdpass fds;
    CHECK_INT(pn_fdpass_send(b, "?", 1, NULL, 0), PN_OK);
    CHECK_INT(pn_fdpass_send(a, "x", 1, NULL, 0), PN_OK);
    close(a);
    CHECK_INT(receive(&byte, 1, &len, &fds), PN_OK);
    CHECK_INT(byte, 'x');
    CHECK_INT(receive(&byte, 1, &len, &fds), PN_ECLOSED);
    close(b);
}

static void
test_long_message_is_dropped_with_its_descriptors(void)
{
    make_pair();
    int null = open_null();
    char buf[4];
    size_t len;
    pn_fdpass fds;
    size_t before = descriptors();
    CHECK_INT(pn_fdpass_send(a, "too long", 8, &null, 1), PN_OK);
    CHECK_INT(pn_fdpass_send(a, "next", 4, NULL, 0), PN_OK);
    CHECK_INT(receive(buf, sizeof buf, &len, &fds), PN_ETOOBIG);
    CHECK_INT(descriptors(), before);
    CHECK_INT(receive(buf, sizeof buf, &len, &fds), PN_OK);
    CHECK(memcmp(buf, "next", 4) == 0);
    close(null);
    close_pair();
}

/* More descriptors than any peer of ours sends, by hand. */
static void
send_many(int fd, size_t count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(32 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec bytes = {.iov_base = "x", .iov_len = 1};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof fd)};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof fd);
    for (size_t i = 0; i < count; i++)
        memcpy(CMSG_DATA(&control.header) + i * sizeof fd, &fd, sizeof fd);
    CHECK_INT(sendmsg(a, &message, 0), 1);
}

static void
test_too_many_descriptors_are_closed_and_told(void)
{
    make_pair();
    int null = open_null();
    size_t before = descriptors();
    for (size_t count = PN_FDPASS_MAX + 1; count <= 32; count++) {
        char byte;
        size_t len;
        pn_fdpass fds;
        send_many(null, count);
        CHECK_INT(receive(&byte, 1, &len, &fds), PN_OK);
        CHECK(fds.cut);
        CHECK_INT(fds.count, 0);
        CHECK_INT(descriptors(), before);
    }
    close(null);
    close_pair();
}

static void
test_without_free_descriptors_the_set_is_cut(void)
{
    make_pair();
    int null = open_null();
    int sent[] = {null, null};
    struct rlimit old, tight;
    getrlimit(RLIMIT_NOFILE, &old);
    CHECK_INT(pn_fdpass_send(a, "x", 1, sent, 2), PN_OK);
    int next = dup(null);
    close(next);
    tight = (struct rlimit){.rlim_cur = (rlim_t)next + 1,
                            .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &tight); /* room for one of the two */

    char byte = 0;
    size_t len;
    pn_fdpass fds;
    CHECK_INT(receive(&byte, 1, &len, &fds), PN_OK);
    CHECK_INT(byte, 'x');
    CHECK(fds.cut);
    CHECK_INT(fds.count, 0);
    int again = dup(null);
    CHECK_INT(again, next);
    close(again);
    setrlimit(RLIMIT_NOFILE, &old);
    close(null);
    close_pair();
}

static void
test_full_socket_says_more(void)
{
    make_pair();
    char big[4096] = {0};
    int err;
    do
        err = pn_fdpass_send(a, big, sizeof big, NULL, 0);
    while (err == PN_OK);
    CHECK_INT(err, PN_MORE);
    close_pair();
}

int
main(void)
{
    RUN(test_message_and_descriptors_arrive_close_on_exec);
    RUN(test_every_count_up_to_the_maximum_arrives);
    RUN(test_empty_end_and_broken_pipe_are_told_apart);
    RUN(test_messages_of_a_peer_that_left_some_unread_arrive);
    RUN(test_long_message_is_dropped_with_its_descriptors);
    RUN(test_too_many_descriptors_are_closed_and_told);
    RUN(test_without_free_descriptors_the_set_is_cut);
    RUN(test_full_socket_says_more);
    return 0;
}
