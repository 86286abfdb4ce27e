#include "sys/forktable.h"

#include "base/alloc.h"
#include "base/status.h"
#include "sys/fdpass.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void
pn_forktable_init(pn_forktable *table)
{
    memset(table, 0, sizeof *table);
}

/* Take the first report off the queue and let go of what came with it. */
static void
pop(pn_fork_channel *channel)
{
    pn_fork_pending *pending = channel->first;
    channel->first = pending->next;
    if (channel->first == NULL)
        channel->last = NULL;
    if (pending->pidfd >= 0)
        close(pending->pidfd);
    pn_free(pending->child); /* pending itself, unless it is the answer */
}

static void
push(pn_fork_channel *channel, pn_fork_pending *pending)
{
    pending->next = NULL;
    if (channel->last == NULL)
        channel->first = pending;
    else
        channel->last->next = pending;
    channel->last = pending;
    pn_forktable_flush(channel);
}

/* A refused pidfd costs only the descriptor: the pid tells enough. */
static int
send_report(int fd, pn_fork_pending *pending)
{
    size_t size = sizeof pending->report;
    if (pending->pidfd >= 0) {
        int err =
            pn_fdpass_send(fd, &pending->report, size, &pending->pidfd, 1);
        if (err != -ETOOMANYREFS)
            return err;
    }
    return pn_fdpass_send(fd, &pending->report, size, NULL, 0);
}

void
pn_forktable_flush(pn_fork_channel *channel)
{
    while (channel->first != NULL) {
        int err = send_report(channel->fd, channel->first);
        if (err == PN_MORE || err == -ENOBUFS || err == -ENOMEM)
            return;   /* poll tells when to go on */
        pop(channel); /* sent, or nobody reads: poll tells of that */
    }
}

int
pn_forktable_add(pn_forktable *table, int fd)
{
    pn_fork_channel *channel = pn_alloc_zeroed(1, sizeof *channel);
    if (channel == NULL) {
        close(fd);
        return PN_ENOMEM;
    }
    channel->fd = fd;
    channel->deadline = PN_FORK_NEVER;
    channel->next = table->channels;
    table->channels = channel;
    table->channel_count++;
    return PN_OK;
}

void
pn_forktable_hang_up(pn_fork_channel *channel, int64_t deadline)
{
    if (channel->fd < 0)
        return;
    while (channel->first != NULL)
        pop(channel);
    close(channel->fd);
    channel->fd = -1;
    channel->deadline = deadline;
}

void
pn_forktable_sweep(pn_forktable *table)
{
    pn_fork_channel **place = &table->channels;
    while (*place != NULL) {
        pn_fork_channel *channel = *place;
        if (channel->fd >= 0 || channel->children > 0) {
            place = &channel->next;
            continue;
        }
        *place = channel->next;
        table->channel_count--;
        pn_free(channel);
    }
}

static pn_fork_child **
bucket_of(pn_forktable *table, pid_t pid)
{
    return &table->bucket[(size_t)pid % PN_FORK_BUCKETS];
}

pn_fork_child *
pn_forktable_reserve(pn_fork_channel *channel, uint64_t token)
{
    pn_fork_child *child = pn_alloc_zeroed(1, sizeof *child);
    if (child == NULL)
        return NULL;
    child->channel = channel;
    child->token = token;
    return child;
}

static pn_fork_pending *
answer(pn_fork_channel *channel, uint32_t kind, uint64_t token)
{
    pn_fork_pending *pending = &channel->answer;
    memset(pending, 0, sizeof *pending);
    pending->report.kind = kind;
    pending->report.token = token;
    pending->pidfd = -1;
    return pending;
}

void
pn_forktable_started(pn_forktable *table, pn_fork_child *child, pid_t pid,
                     int pidfd)
{
    child->pid = pid;
    pn_fork_child **head = bucket_of(table, pid);
    child->next = *head;
    *head = child;
    table->child_count++;
    child->channel->children++;

    pn_fork_pending *pending =
        answer(child->channel, PN_FORK_STARTED, child->token);
    pending->report.pid = pid;
    pending->pidfd = pidfd;
    push(child->channel, pending);
}

void
pn_forktable_failed(pn_fork_channel *channel, uint64_t token, int error)
{
    pn_fork_pending *pending = answer(channel, PN_FORK_FAILED, token);
    pending->report.error = error;
    push(channel, pending);
}

static pn_fork_child *
take_child(pn_forktable *table, pid_t pid)
{
    pn_fork_child **place = bucket_of(table, pid);
    while (*place != NULL && (*place)->pid != pid)
        place = &(*place)->next;
    pn_fork_child *child = *place;
    if (child == NULL)
        return NULL;
    *place = child->next;
    table->child_count--;
    child->channel->children--;
    return child;
}

static uint64_t
microseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000u + (uint64_t)time.tv_usec;
}

static void
describe_exit(pn_fork_report *report, int status, const struct rusage *usage)
{
    report->kind = PN_FORK_EXITED;
    report->code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    report->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    report->core = WIFSIGNALED(status) && WCOREDUMP(status) ? 1 : 0;
    report->utime = microseconds(usage->ru_utime);
    report->stime = microseconds(usage->ru_stime);
    report->max_rss = (uint64_t)usage->ru_maxrss * 1024u;
}

void
pn_forktable_exited(pn_forktable *table, pid_t pid, int status,
                    const struct rusage *usage)
{
    pn_fork_child *child = take_child(table, pid);
    if (child == NULL)
        return; /* of a preloaded module, or left behind by a child */
    if (child->channel->fd < 0) {
        pn_free(child);
        return;
    }
    pn_fork_pending *pending = &child->exited;
    describe_exit(&pending->report, status, usage);
    pending->report.pid = pid;
    pending->report.token = child->token;
    pending->child = child;
    pending->pidfd = -1;
    push(child->channel, pending);
}

size_t
pn_forktable_spares(const pn_forktable *table)
{
    size_t most = 0;
    const pn_fork_channel *channel = table->channels;
    for (; channel != NULL; channel = channel->next) {
        if (channel->fd >= 0 && channel->spares > most)
            most = channel->spares;
    }
    return most;
}

int64_t
pn_forktable_deadline(const pn_forktable *table)
{
    int64_t earliest = PN_FORK_NEVER;
    const pn_fork_channel *channel = table->channels;
    for (; channel != NULL; channel = channel->next) {
        if (channel->deadline < earliest)
            earliest = channel->deadline;
    }
    return earliest;
}

static void
kill_children(const pn_forktable *table, const pn_fork_channel *channel)
{
    for (size_t i = 0; i < PN_FORK_BUCKETS; i++) {
        const pn_fork_child *child = table->bucket[i];
        for (; child != NULL; child = child->next) {
            if (child->channel == channel)
                kill(child->pid, SIGKILL);
        }
    }
}

void
pn_forktable_kill_due(pn_forktable *table, int64_t now)
{
    pn_fork_channel *channel = table->channels;
    for (; channel != NULL; channel = channel->next) {
        if (channel->deadline > now)
            continue;
        channel->deadline = PN_FORK_NEVER;
        kill_children(table, channel);
    }
}

void
pn_forktable_abandon(const pn_forktable *table)
{
    const pn_fork_channel *channel = table->channels;
    for (; channel != NULL; channel = channel->next) {
        const pn_fork_pending *pending = channel->first;
        for (; pending != NULL; pending = pending->next) {
            if (pending->pidfd >= 0)
                close(pending->pidfd);
        }
        if (channel->fd >= 0)
            close(channel->fd);
    }
}

void
pn_forktable_fini(pn_forktable *table)
{
    for (size_t i = 0; i < PN_FORK_BUCKETS; i++) {
        while (table->bucket[i] != NULL)
            pn_free(take_child(table, table->bucket[i]->pid));
    }
    pn_fork_channel *channel = table->channels;
    for (; channel != NULL; channel = channel->next)
        pn_forktable_hang_up(channel, PN_FORK_NEVER);
    pn_forktable_sweep(table);
}

static bool
check_channel(const pn_forktable *table, const pn_fork_channel *channel)
{
    size_t children = 0;
    for (size_t i = 0; i < PN_FORK_BUCKETS; i++) {
        const pn_fork_child *child = table->bucket[i];
        for (; child != NULL; child = child->next)
            children += child->channel == channel;
    }
    const pn_fork_pending *last = channel->first;
    while (last != NULL && last->next != NULL)
        last = last->next;
    return children == channel->children && last == channel->last &&
           (channel->fd >= 0 || last == NULL);
}

bool
pn_forktable_check(const pn_forktable *table)
{
    size_t channels = 0;
    size_t children = 0;
    const pn_fork_channel *channel = table->channels;
    for (; channel != NULL; channel = channel->next) {
        if (!check_channel(table, channel))
            return false;
        channels++;
        children += channel->children;
    }
    return channels == table->channel_count && children == table->child_count;
}
