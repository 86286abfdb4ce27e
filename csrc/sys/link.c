#include "sys/link.h"

#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int
ask_for_credentials(int fd)
{
    int on = 1;
    int err = setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    return err < 0 ? -errno : 0;
}

int
pn_link_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    /* Now, not in pn_link_init: bytes carry credentials only if an end has
     * asked for them before they are sent. */
    int err = ask_for_credentials(fds[0]);
    if (err == 0)
        err = ask_for_credentials(fds[1]);
    if (err < 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    return err;
}

static int
set_up(int fd)
{
    int size = PN_LINK_SEND_BUFFER;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) < 0)
        return -errno;
    return ask_for_credentials(fd);
}

int
pn_link_init(pn_link *link, int fd, const pn_link_limits *limits)
{
    *link = (pn_link){.fd = fd};
    pn_inbox_init(&link->in, limits->message_bytes);
    pn_outbox_init(&link->out, limits->outbox_messages, limits->outbox_bytes);
    int err = set_up(fd);
    if (err < 0)
        pn_link_close(link);
    return err;
}

void
pn_link_limit(pn_link *link, const pn_link_limits *limits)
{
    pn_inbox_limit(&link->in, limits->message_bytes);
    link->out.message_limit = limits->outbox_messages;
    link->out.byte_limit = limits->outbox_bytes;
}

void
pn_link_hang_up(pn_link *link)
{
    if (link->fd >= 0)
        (void)close(link->fd);
    link->fd = -1;
}

void
pn_link_close(pn_link *link)
{
    pn_link_hang_up(link);
    pn_inbox_free(&link->in);
    pn_outbox_free(&link->out);
}

/* Note who sent the first bytes. The kernel says pid 0 where they were sent
 * before an end had asked for credentials, or from a pid namespace that we
 * cannot see: nobody is known then. */
static void
note_peer(pn_link *link, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL;
         c = CMSG_NXTHDR(message, c)) {
        struct ucred peer;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
            continue;
        memcpy(&peer, CMSG_DATA(c), sizeof peer);
        if (peer.pid == 0)
            continue;
        link->peer_pid = peer.pid;
        link->peer_uid = peer.uid;
        link->peer_known = true;
    }
}

/* Descriptors are never expected. The control buffer is filled up by the
 * credentials, and recv() has none, so the kernel closes whatever descriptors
 * a peer passes. */
static ssize_t
receive_first(pn_link *link, void *room, size_t size)
{
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec span = {.iov_base = room, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &span,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t got = recvmsg(link->fd, &message, MSG_CMSG_CLOEXEC);
    if (got > 0)
        note_peer(link, &message);
    return got;
}

/* A reset is an end of file too: the peer died with bytes of ours unread. */
static int
receive_failure(int error)
{
    if (error == EAGAIN)
        return PN_MORE;
    return error == ECONNRESET ? PN_ECLOSED : -error;
}

int
pn_link_receive(pn_link *link, bool *full)
{
    pn_buffer *bytes = &link->in.bytes;
    if (link->fd < 0)
        return PN_ECLOSED;
    int err = pn_buffer_reserve(bytes, PN_LINK_READ_SIZE);
    if (err < 0)
        return err;
    size_t room = bytes->capacity - bytes->end;
    ssize_t got;
    do {
        got = link->peer_known
                  ? recv(link->fd, pn_buffer_tail(bytes), room, 0)
                  : receive_first(link, pn_buffer_tail(bytes), room);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return receive_failure(errno);
    if (got == 0)
        return PN_ECLOSED;
    bytes->end += (size_t)got;
    *full = (size_t)got == room;
    return PN_OK;
}

static ssize_t
send_slices(int fd, const pn_slice *slices, int count)
{
    struct iovec spans[PN_OUTBOX_SLICES];
    for (int i = 0; i < count; i++) {
        spans[i].iov_base = (void *)(uintptr_t)slices[i].data;
        spans[i].iov_len = slices[i].size;
    }
    struct msghdr message = {.msg_iov = spans, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

int
pn_link_flush(pn_link *link)
{
    pn_slice slices[PN_OUTBOX_SLICES];
    int count;
    if (link->fd < 0)
        return PN_ECLOSED;
    while ((count = pn_outbox_peek(&link->out, slices)) > 0) {
        ssize_t sent = send_slices(link->fd, slices, count);
        if (sent < 0)
            return errno == EAGAIN ? PN_MORE : -errno;
        pn_outbox_sent(&link->out, (size_t)sent);
    }
    return count;
}
