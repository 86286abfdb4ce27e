#include "loop/watches.h"

#include "base/alloc.h"
#include "base/status.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MIN_COUNT 64

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* the same on all machines; Linux 5.11 */
#endif

int
pn_watches_init(pn_watches *watches)
{
    *watches = (pn_watches){.epoll = epoll_create1(EPOLL_CLOEXEC)};
    return watches->epoll < 0 ? -errno : 0;
}

void
pn_watches_forget(pn_watches *watches)
{
    if (watches->epoll >= 0)
        (void)close(watches->epoll);
    watches->epoll = -1;
}

void
pn_watches_free(pn_watches *watches)
{
    pn_watches_forget(watches);
    pn_free(watches->items);
    *watches = (pn_watches){.epoll = -1};
}

static int
reach(pn_watches *watches, int fd)
{
    size_t wanted = (size_t)fd + 1;
    if (wanted <= watches->count)
        return PN_OK;
    size_t count = watches->count == 0 ? MIN_COUNT : watches->count;
    while (count < wanted)
        count *= 2;
    pn_watch *larger =
        pn_realloc(watches->items, count * sizeof *watches->items);
    if (larger == NULL)
        return PN_ENOMEM;
    memset(larger + watches->count, 0,
           (count - watches->count) * sizeof *larger);
    watches->items = larger;
    watches->count = count;
    return PN_OK;
}

static uint32_t
bits_of(const pn_watch *watch)
{
    return (watch->waiters[0] != NULL ? (uint32_t)EPOLLIN : 0) |
           (watch->waiters[1] != NULL ? (uint32_t)EPOLLOUT : 0);
}

static int
control(pn_watches *watches, int operation, int fd, uint32_t bits)
{
    struct epoll_event event = {.events = bits, .data.fd = fd};
    return epoll_ctl(watches->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

/* Whether fd is in the set is known unless its owner closed it: it left the
 * set then, and its number may be another file's, which is not in it. */
static int
set_bits(pn_watches *watches, int fd, uint32_t before, uint32_t bits)
{
    int err = control(watches, before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd,
                      bits);
    if (err == -EEXIST)
        return control(watches, EPOLL_CTL_MOD, fd, bits);
    if (err == -ENOENT)
        return control(watches, EPOLL_CTL_ADD, fd, bits);
    return err;
}

int
pn_watches_add(pn_watches *watches, int fd, bool writing, void *waiter,
               void **old)
{
    int err = reach(watches, fd);
    if (err < 0)
        return err;
    pn_watch *watch = &watches->items[fd];
    void *previous = watch->waiters[writing];
    uint32_t before = bits_of(watch);
    watch->waiters[writing] = waiter;
    err = set_bits(watches, fd, before, bits_of(watch));
    if (err < 0)
        watch->waiters[writing] = previous;
    else
        *old = previous;
    return err;
}

void *
pn_watches_remove(pn_watches *watches, int fd, bool writing)
{
    void *waiter = pn_watches_get(watches, fd, writing);
    if (waiter == NULL)
        return NULL;
    pn_watch *watch = &watches->items[fd];
    watch->waiters[writing] = NULL;
    uint32_t bits = bits_of(watch);
    /* Fails for a descriptor that was closed, which has left the set. */
    if (watches->epoll >= 0)
        (void)control(watches, bits == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd,
                      bits);
    return waiter;
}

void *
pn_watches_get(const pn_watches *watches, int fd, bool writing)
{
    if (fd < 0 || (size_t)fd >= watches->count)
        return NULL;
    return watches->items[fd].waiters[writing];
}

static int
wait_in_ms(pn_watches *watches, struct epoll_event *raw, int64_t ns)
{
    int64_t ms = ns <= 0 ? ns : (ns - 1) / 1000000 + 1;
    if (ms > INT_MAX)
        ms = INT_MAX;
    return epoll_wait(watches->epoll, raw, PN_WATCH_EVENTS,
                      ms < 0 ? -1 : (int)ms);
}

/* By the system call itself: the C library may be older than the kernel. */
static int
wait_in_ns(pn_watches *watches, struct epoll_event *raw, int64_t ns)
{
    struct timespec left = {.tv_sec = (time_t)(ns / 1000000000),
                            .tv_nsec = (long)(ns % 1000000000)};
    long count = syscall(SYS_epoll_pwait2, watches->epoll, raw,
                         PN_WATCH_EVENTS, &left, NULL, (size_t)0);
    /* An older kernel does not know it, a sandbox may refuse it. */
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
        watches->coarse = true;
        return wait_in_ms(watches, raw, ns);
    }
    return (int)count;
}

int
pn_watches_wait(pn_watches *watches, pn_watch_event *events, int64_t ns)
{
    struct epoll_event raw[PN_WATCH_EVENTS];
    int count = ns <= 0 || watches->coarse ? wait_in_ms(watches, raw, ns)
                                           : wait_in_ns(watches, raw, ns);
    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++) {
        uint32_t bits = raw[i].events;
        events[i] = (pn_watch_event){
            .fd = raw[i].data.fd,
            .readable = (bits & ~(uint32_t)EPOLLOUT) != 0,
            .writable = (bits & ~(uint32_t)EPOLLIN) != 0,
        };
    }
    return count;
}
