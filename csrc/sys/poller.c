#include "sys/poller.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

int
pn_poller_init(pn_poller *poller)
{
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    return poller->fd < 0 ? -errno : 0;
}

void
pn_poller_close(pn_poller *poller)
{
    if (poller->fd >= 0)
        (void)close(poller->fd);
    poller->fd = -1;
}

static int
control(pn_poller *poller, int operation, int fd, void *owner, uint32_t bits)
{
    struct epoll_event event = {.events = bits, .data.ptr = owner};
    return epoll_ctl(poller->fd, operation, fd, &event) < 0 ? -errno : 0;
}

static uint32_t
bits_of(bool writable)
{
    return EPOLLIN | (writable ? (uint32_t)EPOLLOUT : 0);
}

int
pn_poller_add(pn_poller *poller, int fd, void *owner, bool writable)
{
    return control(poller, EPOLL_CTL_ADD, fd, owner, bits_of(writable));
}

int
pn_poller_change(pn_poller *poller, int fd, void *owner, bool writable)
{
    return control(poller, EPOLL_CTL_MOD, fd, owner, bits_of(writable));
}

int
pn_poller_mute(pn_poller *poller, int fd, void *owner)
{
    return control(poller, EPOLL_CTL_MOD, fd, owner, EPOLLOUT);
}

void
pn_poller_remove(pn_poller *poller, int fd)
{
    (void)control(poller, EPOLL_CTL_DEL, fd, NULL, 0);
}

int
pn_poller_wait(pn_poller *poller, pn_poll_event *events, int max,
               int timeout_ms)
{
    struct epoll_event raw[PN_POLL_BATCH];
    if (max > PN_POLL_BATCH)
        max = PN_POLL_BATCH;
    int count = epoll_wait(poller->fd, raw, max, timeout_ms);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        uint32_t bits = raw[i].events;
        events[i] = (pn_poll_event){
            .owner = raw[i].data.ptr,
            .readable = (bits & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0,
            .writable = (bits & EPOLLOUT) != 0,
        };
    }
    return count;
}
