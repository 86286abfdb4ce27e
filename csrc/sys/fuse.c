#include "sys/fuse.h"

#include "base/status.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

static int
make_timer(timer_t *timer, int signal)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_SIGNAL,
        .sigev_signo = signal,
    };
    return timer_create(CLOCK_MONOTONIC, &event, timer) < 0 ? -errno : PN_OK;
}

static int
make(pn_fuse *fuse, int signal)
{
    int err = make_timer(&fuse->tell, signal);
    if (err < 0)
        return err;
    err = make_timer(&fuse->kill, SIGKILL);
    if (err < 0) {
        (void)timer_delete(fuse->tell);
        return err;
    }
    fuse->signal = signal;
    fuse->made = getpid();
    return PN_OK;
}

/* Whether the timers are there, and ours. */
static bool
is_made(const pn_fuse *fuse)
{
    return fuse->made != 0 && fuse->made == getpid();
}

/* Whether the signal reaches a handler, not the process. */
static bool
is_handled(int signal)
{
    struct sigaction action;
    return sigaction(signal, NULL, &action) == 0 &&
           action.sa_handler != SIG_DFL;
}

/* 0 as a time takes a timer back, so there is none at 0. */
static int
set_timer(timer_t timer, int64_t due)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000},
    };
    return timer_settime(timer, TIMER_ABSTIME, &when, NULL) < 0 ? -errno
                                                                : PN_OK;
}

int
pn_fuse_light(pn_fuse *fuse, int64_t due, int signal)
{
    int err = is_made(fuse) ? PN_OK : make(fuse, signal);
    if (err < 0)
        return err;
    if (due < 1)
        due = 1;
    if (due > INT64_MAX - PN_FUSE_TELL_NS)
        due = INT64_MAX - PN_FUSE_TELL_NS;
    err = set_timer(fuse->kill, due + PN_FUSE_TELL_NS);
    if (err == PN_OK && is_handled(fuse->signal))
        (void)set_timer(fuse->tell, due);
    return err;
}

void
pn_fuse_put_out(pn_fuse *fuse)
{
    if (!is_made(fuse))
        return;
    (void)set_timer(fuse->kill, 0);
    (void)set_timer(fuse->tell, 0);
}

void
pn_fuse_free(pn_fuse *fuse)
{
    if (is_made(fuse)) {
        (void)timer_delete(fuse->kill);
        (void)timer_delete(fuse->tell);
    }
    *fuse = (pn_fuse){0};
}
