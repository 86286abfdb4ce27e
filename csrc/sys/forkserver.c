#include "sys/forkserver.h"

#include "base/alloc.h"
#include "base/status.h"
#include "sys/clock.h"
#include "sys/fdpass.h"
#include "sys/forkreserve.h"
#include "sys/forktable.h"
#include "sys/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Places in the poll set; the open channels follow, in the table's order. */
enum { ON_SIGNAL, ON_CONTROL, ON_MASTER, ON_CHANNELS };

/* A serving server.
 *   - polled has room for ON_CHANNELS and every channel of the table;
 *   - ending is true once the master is gone: every channel is hung up then
 *     and the first ON_CHANNELS entries but ON_SIGNAL are not polled. */
typedef struct {
    const pn_forkserver *self;
    pn_forktable table;
    pn_forkreserve reserve;
    struct pollfd *polled;
    size_t room; /* channels that polled has room for */
    int signals; /* signalfd of SIGCHLD */
    pid_t pid;   /* of the server */
    bool ending;
    sigset_t mask; /* before serving */
} serving;

static int64_t
now_ms(void)
{
    return pn_clock_now() / 1000000;
}

/* A standard stream that the master had closed would be the number of some
 * channel here, and be overwritten in a child. */
static int
occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", O_RDWR) < 0)
            return -errno;
    }
    return 0;
}

/* Block every signal: what is sent to a child between its fork and its first
 * instruction stays pending then, and none can stop the server. */
static int
open_signals(serving *s)
{
    sigset_t all, child;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    /* An inherited SIG_IGN would reap behind our back. */
    sigaction(SIGCHLD, &standard, NULL);
    sigprocmask(SIG_SETMASK, &all, &s->mask);
    s->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals >= 0)
        return 0;
    int err = -errno;
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
    return err;
}

static int
grow(serving *s)
{
    if (s->table.channel_count < s->room)
        return 0;
    size_t room = s->room == 0 ? 8 : s->room * 2;
    struct pollfd *polled =
        pn_realloc(s->polled, (ON_CHANNELS + room) * sizeof *polled);
    if (polled == NULL)
        return PN_ENOMEM;
    s->polled = polled;
    s->room = room;
    return 0;
}

/* The end of who started it continues a server that is stopped, which then
 * ends its children, stopped ones too; a spurious one does nothing. What its
 * children leave behind becomes its own and is reaped here: the first process
 * of a container may be a program that reaps only what it knows. Both are
 * helps: where they are refused all else works. */
static void
be_responsible(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGCONT);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static int
serving_init(serving *s, const pn_forkserver *self)
{
    s->self = self;
    s->polled = NULL;
    s->room = 0;
    s->pid = getpid();
    s->ending = false;
    pn_forktable_init(&s->table);
    pn_forkreserve_init(&s->reserve);
    int err = occupy_standard_streams();
    if (err < 0)
        return err;
    err = grow(s);
    if (err < 0)
        return err;
    err = open_signals(s);
    if (err < 0)
        pn_free(s->polled);
    else
        be_responsible();
    return err;
}

static void
serving_fini(serving *s)
{
    pn_forktable_fini(&s->table);
    pn_forkreserve_fini(&s->reserve);
    close(s->signals);
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
    pn_free(s->polled);
}

static void
master_gone(serving *s, int64_t now)
{
    s->ending = true;
    pn_fork_channel *channel = s->table.channels;
    for (; channel != NULL; channel = channel->next)
        pn_forktable_hang_up(channel, now + PN_FORK_GRACE);
}

/* Several exits may be one SIGCHLD. */
static void
reap(serving *s, int64_t now)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) > 0)
        ;
    for (;;) {
        int status;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, WNOHANG, &usage);
        if (pid <= 0)
            return;
        if (pn_forkreserve_exited(&s->reserve, pid))
            pn_forkreserve_wait(&s->reserve, now, PN_FORK_RETRY);
        else
            pn_forktable_exited(&s->table, pid, status, &usage);
    }
}

static void
on_control(serving *s, int64_t now)
{
    char byte;
    size_t len;
    pn_fdpass fds;
    int err =
        pn_fdpass_receive(s->self->control, &byte, sizeof byte, &len, &fds);
    if (err == PN_MORE)
        return;
    if (err != PN_OK) {
        master_gone(s, now);
        return;
    }
    /* Without room the descriptor is closed and its arbiter sees the end of
     * file. */
    if (fds.count == 1 && grow(s) == 0) {
        (void)pn_forktable_add(&s->table, fds.fd[0]);
        fds.count = 0;
    }
    pn_fdpass_close(&fds);
}

/* In the child, from fork to a process that could have been exec'ed; what
 * it was given is still to be put in place. */
static void
become_child(serving *s)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->pid)
        _exit(1); /* the server died before the line above */

    pn_forktable_abandon(&s->table);
    pn_forkreserve_abandon(&s->reserve);
    close(s->signals);
    close(s->self->control);

    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t none;
    sigemptyset(&none);
    sigaction(SIGINT, &ignore, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Fork a spare with its end of the pair. As fork(2). */
static pid_t
fork_spare(serving *s, pn_fork_spare *spare, const int *pair, pn_forked *out)
{
    spare->pid = s->self->fork(s->self->context);
    if (spare->pid != 0)
        return spare->pid;
    pn_forkspare_begin();
    become_child(s);
    close(pair[0]);
    *out = (pn_forked){.link = -1, .recorder = -1, .spare = pair[1]};
    return 0;
}

/* Add one spare to the reserve. True in the spare, with *out set. What fails
 * is tried again later. */
static bool
add_spare(serving *s, int64_t now, pn_forked *out)
{
    int pair[2];
    pn_forkreserve_wait(&s->reserve, now, PN_FORK_RETRY);
    pn_fork_spare *spare = pn_alloc_zeroed(1, sizeof *spare);
    if (spare == NULL)
        return false;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        goto free_spare;
    pid_t pid = fork_spare(s, spare, pair, out);
    if (pid == 0)
        return true;
    close(pair[1]);
    if (pid < 0)
        goto close_pair;
    spare->fd = pair[0];
    int pidfd = pn_pidfd_open(pid); /* before anything can reap it */
    spare->pidfd = pidfd < 0 ? -1 : pidfd;
    pn_forkreserve_add(&s->reserve, spare);
    pn_forkreserve_wait(&s->reserve, now, PN_FORK_PACE);
    return false;

close_pair:
    close(pair[0]);
free_spare:
    pn_free(spare);
    return false;
}

/* A spare or a fork for a complete request. True in the child that was
 * forked, with *out set. */
static bool
spawn(serving *s, pn_fork_channel *channel, const pn_fork_request *request,
      const pn_fdpass *fds, pn_forked *out)
{
    pn_fork_child *child = pn_forktable_reserve(channel, request->token);
    if (child == NULL) {
        pn_forktable_failed(channel, request->token, ENOMEM);
        return false;
    }
    pid_t pid;
    int pidfd;
    if (pn_forkreserve_give(&s->reserve, request, fds, &pid, &pidfd)) {
        pn_forktable_started(&s->table, child, pid, pidfd);
        return false;
    }
    pid = s->self->fork(s->self->context);
    if (pid == 0) {
        become_child(s);
        *out = pn_forkspare_place(request, fds);
        return true;
    }
    if (pid < 0) {
        int error = errno;
        pn_free(child);
        pn_forktable_failed(channel, request->token, error);
        return false;
    }
    pidfd = pn_pidfd_open(pid); /* before anything can reap it */
    pn_forktable_started(&s->table, child, pid, pidfd < 0 ? -1 : pidfd);
    return false;
}

/* 0 or the errno to answer with. */
static int
request_error(const pn_fork_request *request, const pn_fdpass *fds)
{
    if (fds->cut)
        return EMFILE;
    size_t count = (size_t)__builtin_popcount(request->given);
    bool known = (request->given >> PN_FORK_FDS) == 0;
    bool linked = (request->given & (1u << PN_FORK_LINK)) != 0;
    return known && linked && fds->count == count ? 0 : EINVAL;
}

/* Read one request. True in the child that it made. */
static bool
on_request(serving *s, pn_fork_channel *channel, int64_t now, pn_forked *out)
{
    pn_fork_request request;
    size_t len;
    pn_fdpass fds;
    int err =
        pn_fdpass_receive(channel->fd, &request, sizeof request, &len, &fds);
    if (err == PN_MORE)
        return false;
    if (err == PN_OK && len == sizeof request &&
        request.kind == PN_FORK_RESERVE && fds.count == 0) {
        channel->spares = (size_t)request.token;
        return false;
    }
    if (err != PN_OK || len != sizeof request ||
        request.kind != PN_FORK_SPAWN) {
        if (err == PN_OK)
            pn_fdpass_close(&fds);
        pn_forktable_hang_up(channel, now + PN_FORK_GRACE);
        return false;
    }
    pn_forkreserve_wait(&s->reserve, now, PN_FORK_CALM);
    int error = request_error(&request, &fds);
    if (error == 0 && spawn(s, channel, &request, &fds, out))
        return true;
    if (error != 0)
        pn_forktable_failed(channel, request.token, error);
    pn_fdpass_close(&fds);
    return false;
}

/* A hung-up arbiter's last requests are not worth a fork. */
static bool
on_channel(serving *s, pn_fork_channel *channel, short events, int64_t now,
           pn_forked *out)
{
    if (events & (POLLHUP | POLLERR | POLLNVAL)) {
        pn_forktable_hang_up(channel, now + PN_FORK_GRACE);
        return false;
    }
    if (events & POLLOUT)
        pn_forktable_flush(channel);
    return (events & POLLIN) && on_request(s, channel, now, out);
}

/* A channel with reports to send is not read: its client has to take those
 * first. A negative descriptor is skipped by poll. */
static nfds_t
fill(serving *s)
{
    bool ending = s->ending;
    struct pollfd *p = s->polled;
    p[ON_SIGNAL] = (struct pollfd){.fd = s->signals, .events = POLLIN};
    p[ON_CONTROL] = (struct pollfd){.fd = ending ? -1 : s->self->control,
                                    .events = POLLIN};
    p[ON_MASTER] =
        (struct pollfd){.fd = ending ? -1 : s->self->master, .events = POLLIN};
    nfds_t count = ON_CHANNELS;
    const pn_fork_channel *channel = s->table.channels;
    for (; channel != NULL; channel = channel->next) {
        short events = channel->first == NULL ? POLLIN : POLLOUT;
        p[count++] = (struct pollfd){.fd = channel->fd, .events = events};
    }
    return count;
}

static int
timeout_ms(const serving *s)
{
    int64_t deadline = pn_forktable_deadline(&s->table);
    int64_t refill = pn_forkreserve_due(&s->reserve);
    if (refill < deadline)
        deadline = refill;
    if (deadline == PN_FORK_NEVER)
        return -1;
    int64_t left = deadline - now_ms();
    return left > 0 ? (int)left : 0;
}

/* One round over what is ready, in the order in which poll was filled. New
 * channels are taken last, so that the two stay in step. */
static bool
handle(serving *s, pn_forked *out)
{
    int64_t now = now_ms();
    const struct pollfd *polled = s->polled;
    short control = polled[ON_CONTROL].revents;
    if (polled[ON_SIGNAL].revents)
        reap(s, now);
    if (polled[ON_MASTER].revents && !s->ending)
        master_gone(s, now);
    polled += ON_CHANNELS;
    pn_fork_channel *channel = s->table.channels;
    for (; channel != NULL; channel = channel->next) {
        short events = polled++->revents;
        if (channel->fd >= 0 && events != 0 &&
            on_channel(s, channel, events, now, out))
            return true;
    }
    if (control && !s->ending)
        on_control(s, now);
    pn_forktable_kill_due(&s->table, now);
    pn_forktable_sweep(&s->table);
    pn_forkreserve_want(&s->reserve, pn_forktable_spares(&s->table));
    return false;
}

/* Nobody asks for anything: fork ahead, if a spare lacks. True in it. */
static bool
refill(serving *s, pn_forked *out)
{
    int64_t now = now_ms();
    return pn_forkreserve_due(&s->reserve) <= now && add_spare(s, now, out);
}

int
pn_forkserver_serve(const pn_forkserver *self, pn_forked *out)
{
    serving s;
    int err = serving_init(&s, self);
    if (err < 0)
        return err;
    while (!s.ending || s.table.child_count > 0) {
        nfds_t count = fill(&s);
        int ready = poll(s.polled, count, timeout_ms(&s));
        if (ready < 0) {
            if (errno == EINTR)
                continue;
            err = -errno;
            break;
        }
        if (handle(&s, out) || (ready == 0 && refill(&s, out)))
            return PN_FORKSERVER_CHILD;
    }
    serving_fini(&s);
    return err;
}
