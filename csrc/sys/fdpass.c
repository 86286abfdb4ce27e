#include "sys/fdpass.h"

#include "base/status.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef union {
    struct cmsghdr header; /* for its alignment */
    char bytes[CMSG_SPACE(PN_FDPASS_MAX * sizeof(int))];
} control_buffer;

static void
attach(struct msghdr *message, control_buffer *control, const int *fd,
       size_t count)
{
    memset(control, 0, sizeof *control);
    message->msg_control = control->bytes;
    message->msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fd, count * sizeof(int));
}

int
pn_fdpass_send(int socket, const void *data, size_t len, const int *fd,
               size_t count)
{
    if (count > PN_FDPASS_MAX || len == 0)
        return -EINVAL;
    struct iovec bytes = {.iov_base = (void *)data, .iov_len = len};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    control_buffer control;
    if (count > 0)
        attach(&message, &control, fd, count);

    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return PN_OK;
    return errno == EAGAIN || errno == EWOULDBLOCK ? PN_MORE : -errno;
}

/* The kernel's padding can hold one descriptor more than was asked for. */
static void
keep(pn_fdpass *fds, int fd)
{
    if (fds->count < PN_FDPASS_MAX) {
        fds->fd[fds->count++] = fd;
        return;
    }
    close(fd);
    fds->cut = true;
}

static void
collect(struct msghdr *message, pn_fdpass *fds)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    for (; header != NULL; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET ||
            header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            keep(fds, fd);
        }
    }
    if (message->msg_flags & MSG_CTRUNC)
        fds->cut = true;
    if (fds->cut)
        pn_fdpass_close(fds);
}

/* A peer that closes before it has read everything leaves ECONNRESET, told
 * once, before the messages that it had sent. */
int
pn_fdpass_receive(int socket, void *buf, size_t size, size_t *len,
                  pn_fdpass *fds)
{
    struct iovec bytes = {.iov_base = buf, .iov_len = size};
    control_buffer control;
    struct msghdr message = {
        .msg_iov = &bytes,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? PN_MORE : -errno;

    fds->count = 0;
    fds->cut = false;
    collect(&message, fds);
    if (message.msg_flags & MSG_TRUNC) {
        pn_fdpass_close(fds);
        return PN_ETOOBIG;
    }
    *len = (size_t)got;
    return got == 0 ? PN_ECLOSED : PN_OK;
}

void
pn_fdpass_close(pn_fdpass *fds)
{
    for (size_t i = 0; i < fds->count; i++)
        close(fds->fd[i]);
    fds->count = 0;
}
