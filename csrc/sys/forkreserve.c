#include "sys/forkreserve.h"

#include "base/alloc.h"
#include "base/status.h"
#include "sys/forktable.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

void
pn_forkreserve_init(pn_forkreserve *self)
{
    memset(self, 0, sizeof *self);
}

static void
close_spare(const pn_fork_spare *spare)
{
    close(spare->fd);
    if (spare->pidfd >= 0)
        close(spare->pidfd);
}

/* Take the spare at *place out of the list; `before` precedes it, or NULL. */
static pn_fork_spare *
take(pn_forkreserve *self, pn_fork_spare **place, pn_fork_spare *before)
{
    pn_fork_spare *spare = *place;
    *place = spare->next;
    if (self->last == spare)
        self->last = before;
    self->count--;
    return spare;
}

/* Safe by pid: it was not reaped, or _exited had been told. */
static void
kill_first(pn_forkreserve *self)
{
    pn_fork_spare *spare = take(self, &self->first, NULL);
    kill(spare->pid, SIGKILL);
    close_spare(spare);
    pn_free(spare);
}

void
pn_forkreserve_want(pn_forkreserve *self, size_t wanted)
{
    self->wanted = wanted;
    while (self->count > wanted)
        kill_first(self);
}

void
pn_forkreserve_fini(pn_forkreserve *self)
{
    pn_forkreserve_want(self, 0);
}

void
pn_forkreserve_abandon(const pn_forkreserve *self)
{
    const pn_fork_spare *spare = self->first;
    for (; spare != NULL; spare = spare->next)
        close_spare(spare);
}

void
pn_forkreserve_wait(pn_forkreserve *self, int64_t now, int64_t pause)
{
    self->refill = now + pause;
}

int64_t
pn_forkreserve_due(const pn_forkreserve *self)
{
    return self->count < self->wanted ? self->refill : PN_FORK_NEVER;
}

void
pn_forkreserve_add(pn_forkreserve *self, pn_fork_spare *spare)
{
    spare->next = NULL;
    if (self->last == NULL)
        self->first = spare;
    else
        self->last->next = spare;
    self->last = spare;
    self->count++;
}

bool
pn_forkreserve_give(pn_forkreserve *self, const pn_fork_request *request,
                    const pn_fdpass *fds, pid_t *pid, int *pidfd)
{
    while (self->first != NULL) {
        int err = pn_fdpass_send(self->first->fd, request, sizeof *request,
                                 fds->fd, fds->count);
        if (err != PN_OK) {
            kill_first(self); /* it has ended, or is of no use */
            continue;
        }
        pn_fork_spare *spare = take(self, &self->first, NULL);
        *pid = spare->pid;
        *pidfd = spare->pidfd;
        close(spare->fd);
        pn_free(spare);
        return true;
    }
    return false;
}

bool
pn_forkreserve_exited(pn_forkreserve *self, pid_t pid)
{
    pn_fork_spare *before = NULL;
    pn_fork_spare **place = &self->first;
    while (*place != NULL && (*place)->pid != pid) {
        before = *place;
        place = &before->next;
    }
    if (*place == NULL)
        return false;
    pn_fork_spare *spare = take(self, place, before);
    close_spare(spare);
    pn_free(spare);
    return true;
}

bool
pn_forkreserve_check(const pn_forkreserve *self)
{
    size_t count = 0;
    const pn_fork_spare *last = NULL;
    const pn_fork_spare *spare = self->first;
    for (; spare != NULL; spare = spare->next) {
        if (spare->pid <= 0 || spare->fd < 0)
            return false;
        last = spare;
        count++;
    }
    return count == self->count && last == self->last;
}
