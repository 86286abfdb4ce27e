#include "sys/forkclient.h"

#include "base/alloc.h"
#include "base/status.h"
#include "sys/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A request that found the socket full, with descriptors of its own. */
struct pn_fork_unsent {
    pn_fork_unsent *next;
    pn_fork_request request;
    pn_fdpass fds;
};

void
pn_forkclient_init(pn_forkclient *self, int fd)
{
    *self = (pn_forkclient){.fd = fd};
}

static void
free_first(pn_forkclient *self)
{
    pn_fork_unsent *unsent = self->first;
    self->first = unsent->next;
    if (self->first == NULL)
        self->last = NULL;
    pn_fdpass_close(&unsent->fds);
    pn_free(unsent);
}

void
pn_forkclient_close(pn_forkclient *self)
{
    while (self->first != NULL)
        free_first(self);
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
}

/* A full socket, or too many descriptors in flight: the reports of those that
 * are unanswered say when to go on. */
static bool
must_wait(const pn_forkclient *self, int err)
{
    return self->unanswered > 0 && (err == PN_MORE || err == -ETOOMANYREFS);
}

/* Without unanswered requests no report would wake us: the socket is full of
 * what is not answered. */
static int
send_request(pn_forkclient *self, const pn_fork_request *request,
             const pn_fdpass *fds)
{
    int err = pn_fdpass_send(self->fd, request, sizeof *request, fds->fd,
                             fds->count);
    if (err == PN_OK && request->kind == PN_FORK_SPAWN)
        self->unanswered++;
    return err == PN_MORE && self->unanswered == 0 ? -EAGAIN : err;
}

static int
duplicate(pn_fdpass *copy, const pn_fdpass *fds)
{
    copy->count = 0;
    copy->cut = false;
    for (size_t i = 0; i < fds->count; i++) {
        int fd = fcntl(fds->fd[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            int err = -errno;
            pn_fdpass_close(copy);
            return err;
        }
        copy->fd[copy->count++] = fd;
    }
    return PN_OK;
}

static int
enqueue(pn_forkclient *self, const pn_fork_request *request,
        const pn_fdpass *fds)
{
    pn_fork_unsent *unsent = pn_alloc_zeroed(1, sizeof *unsent);
    if (unsent == NULL)
        return PN_ENOMEM;
    int err = duplicate(&unsent->fds, fds);
    if (err < 0) {
        pn_free(unsent);
        return err;
    }
    unsent->request = *request;
    if (self->last == NULL)
        self->first = unsent;
    else
        self->last->next = unsent;
    self->last = unsent;
    return PN_OK;
}

static int
send_or_enqueue(pn_forkclient *self, const pn_fork_request *request,
                const pn_fdpass *fds)
{
    if (self->first != NULL)
        return enqueue(self, request, fds);
    int err = send_request(self, request, fds);
    return must_wait(self, err) ? enqueue(self, request, fds) : err;
}

int
pn_forkclient_spawn(pn_forkclient *self, uint64_t token, const int *fd)
{
    if (self->fd < 0)
        return PN_ECLOSED;
    pn_fork_request request = {.kind = PN_FORK_SPAWN, .token = token};
    pn_fdpass fds = {.count = 0};
    for (unsigned i = 0; i < PN_FORK_FDS; i++) {
        if (fd[i] < 0)
            continue;
        request.given |= 1u << i;
        fds.fd[fds.count++] = fd[i];
    }
    return send_or_enqueue(self, &request, &fds);
}

int
pn_forkclient_reserve(pn_forkclient *self, uint64_t count)
{
    if (self->fd < 0)
        return PN_ECLOSED;
    pn_fork_request request = {.kind = PN_FORK_RESERVE, .token = count};
    pn_fdpass fds = {.count = 0};
    return send_or_enqueue(self, &request, &fds);
}

/* Send what waited. A request that cannot be sent at all becomes a FAILED
 * report of our own making: PN_OK then, else PN_MORE. */
static int
flush(pn_forkclient *self, pn_fork_report *report)
{
    while (self->first != NULL) {
        pn_fork_unsent *unsent = self->first;
        int err = send_request(self, &unsent->request, &unsent->fds);
        if (must_wait(self, err))
            return PN_MORE;
        uint64_t token = unsent->request.token;
        bool spawn = unsent->request.kind == PN_FORK_SPAWN;
        free_first(self);
        if (err == PN_OK || !spawn)
            continue;
        *report = (pn_fork_report){
            .kind = PN_FORK_FAILED, .token = token, .error = -err};
        return PN_OK;
    }
    return PN_MORE;
}

static int
take(pn_forkclient *self, pn_fork_report *report, int *pidfd)
{
    size_t len;
    pn_fdpass fds;
    int err = pn_fdpass_receive(self->fd, report, sizeof *report, &len, &fds);
    if (err != PN_OK)
        return err == PN_ETOOBIG ? PN_EPROTO : err;
    if (len != sizeof *report || fds.count > 1) {
        pn_fdpass_close(&fds);
        return PN_EPROTO;
    }
    if (fds.count == 1)
        *pidfd = fds.fd[0];
    if (report->kind != PN_FORK_EXITED && self->unanswered > 0)
        self->unanswered--;
    return PN_OK;
}

int
pn_forkclient_receive(pn_forkclient *self, pn_fork_report *report, int *pidfd)
{
    *pidfd = -1;
    if (self->fd < 0)
        return PN_ECLOSED;
    int err = take(self, report, pidfd);
    return err == PN_MORE ? flush(self, report) : err;
}
