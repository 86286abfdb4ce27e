#include "sys/link.h"

#include "base/status.h"
#include "ws/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int
ask_for_credentials(int fd, int on)
{
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
    int err = ask_for_credentials(fds[0], 1);
    if (err == 0)
        err = ask_for_credentials(fds[1], 1);
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
    return ask_for_credentials(fd, 1);
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
    pn_descriptors_close(&link->fds);
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
note_peer(pn_link *link, const struct cmsghdr *c)
{
    struct ucred peer;
    memcpy(&peer, CMSG_DATA(c), sizeof peer);
    if (peer.pid == 0 || link->peer_known)
        return;
    link->peer_pid = peer.pid;
    link->peer_uid = peer.uid;
    link->peer_known = true;
    (void)ask_for_credentials(link->fd, 0); /* 0.2 us a receive cheaper */
}

/* Keep the descriptors that came. Our own kind sends one at a time. */
static int
note_descriptors(pn_link *link, const struct cmsghdr *c)
{
    int err = PN_OK, fd;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof fd;
    for (size_t i = 0; i < count; i++) {
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        int kept = pn_descriptors_came(&link->fds, fd);
        err = kept < 0 || i > 0 ? PN_EPROTO : err;
    }
    return err;
}

/* What came beside the bytes. A control message that was cut off held the
 * descriptor for which this process had no number left. */
static int
note_control(pn_link *link, struct msghdr *message)
{
    bool passed = false;
    int err = PN_OK;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL;
         c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS)
            note_peer(link, c);
        if (c->cmsg_type != SCM_RIGHTS)
            continue;
        passed = true;
        int kept = note_descriptors(link, c);
        err = kept < 0 ? kept : err;
    }
    if ((message->msg_flags & MSG_CTRUNC) == 0)
        return err;
    return passed ? PN_EPROTO : pn_descriptors_came(&link->fds, -1);
}

/* As recvmsg(2), or PN_EPROTO in *err with what came kept all the same. */
static ssize_t
receive_bytes(pn_link *link, void *room, size_t size, int *err)
{
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec span = {.iov_base = room, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &span,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t got;
    do {
        got = recvmsg(link->fd, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    *err = got > 0 ? note_control(link, &message) : PN_OK;
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
    ssize_t got = receive_bytes(link, pn_buffer_tail(bytes), room, &err);
    if (got < 0)
        return receive_failure(errno);
    if (got == 0)
        return PN_ECLOSED;
    bytes->end += (size_t)got;
    *full = (size_t)got == room;
    return err;
}

/* --- sending --- */

typedef union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
} descriptor_room;

static void
add_descriptor(struct msghdr *message, descriptor_room *room, int fd)
{
    memset(room, 0, sizeof *room);
    message->msg_control = room->bytes;
    message->msg_controllen = sizeof room->bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

static ssize_t
send_message(int fd, const struct msghdr *message)
{
    ssize_t sent;
    do {
        sent = sendmsg(fd, message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* Whether a send failed for the sake of the descriptor in it: too many of
 * this user are under way, say, or its number was closed by somebody. */
static bool
is_descriptors_fault(int error)
{
    return error != EAGAIN && error != EPIPE && error != ECONNRESET &&
           error != ENOMEM && error != ENOBUFS;
}

/* Send one descriptor and bytes with it: a single one if another descriptor
 * waits, which needs bytes of its own. */
static ssize_t
send_with_descriptor(pn_link *link, struct msghdr message)
{
    descriptor_room room;
    struct iovec one = {message.msg_iov->iov_base, 1};
    struct msghdr bytes = message;
    if (link->fds.waiting > 1) {
        message.msg_iov = &one;
        message.msg_iovlen = 1;
    }
    add_descriptor(&message, &room, pn_descriptors_next(&link->fds));
    ssize_t sent = send_message(link->fd, &message);
    if (sent > 0)
        pn_descriptors_left(&link->fds);
    if (sent >= 0 || !is_descriptors_fault(errno))
        return sent;
    pn_descriptors_lose(&link->fds);
    return send_message(link->fd, &bytes);
}

static ssize_t
send_slices(pn_link *link, const pn_slice *slices, int count)
{
    struct iovec spans[PN_OUTBOX_SLICES];
    for (int i = 0; i < count; i++) {
        spans[i].iov_base = (void *)(uintptr_t)slices[i].data;
        spans[i].iov_len = slices[i].size;
    }
    struct msghdr message = {.msg_iov = spans, .msg_iovlen = (size_t)count};
    if (link->fds.waiting > 0)
        return send_with_descriptor(link, message);
    return send_message(link->fd, &message);
}

int
pn_link_flush(pn_link *link)
{
    pn_slice slices[PN_OUTBOX_SLICES];
    int count;
    if (link->fd < 0)
        return PN_ECLOSED;
    while ((count = pn_outbox_peek(&link->out, slices)) > 0) {
        ssize_t sent = send_slices(link, slices, count);
        if (sent < 0)
            return errno == EAGAIN ? PN_MORE : -errno;
        pn_outbox_sent(&link->out, (size_t)sent);
    }
    if (count == 0)
        pn_descriptors_rest(&link->fds);
    return count;
}

/* So few bytes are taken whole or not at all. */
int
pn_link_finish(pn_link *link, const pn_envelope *env)
{
    uint8_t bytes[PN_FRAME_HEADER_MAX + PN_ENVELOPE_SIZE];
    pn_frame frame = {
        .final = true,
        .opcode = PN_OP_BINARY,
        .length = PN_ENVELOPE_SIZE,
    };
    if (link->fd < 0)
        return PN_ECLOSED;
    if (!pn_outbox_empty(&link->out))
        return PN_MORE;
    size_t head = pn_frame_encode_header(bytes, &frame);
    pn_envelope_encode(env, bytes + head);
    struct iovec span = {bytes, head + PN_ENVELOPE_SIZE};
    struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};
    if (send_message(link->fd, &message) < 0)
        return errno == EAGAIN ? PN_MORE : -errno;
    return shutdown(link->fd, SHUT_WR) < 0 ? -errno : PN_OK;
}

/* --- descriptors --- */

int
pn_link_attach(pn_link *link, int fd, uint64_t *serial)
{
    if (link->fd < 0)
        return PN_ECLOSED;
    return pn_descriptors_attach(&link->fds, fd, serial);
}

int
pn_link_retract(pn_link *link)
{
    return pn_descriptors_retract(&link->fds);
}

int
pn_link_claim(pn_link *link, uint64_t serial)
{
    return pn_descriptors_claim(&link->fds, serial);
}
