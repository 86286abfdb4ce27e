/* Asks whose time is over, or that nobody wants answered any more. */
#include "base/status.h"
#include "python/error.h"
#include "python/future.h"
#include "python/mailbox_direct.h"
#include "python/mailbox_fuse.h"
#include "python/mailbox_park.h"
#include "python/request.h"
#include "python/sink.h"
#include "sys/clock.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* --- cancelling at the asker --- */

void
pn_mailbox_send_cancel(MailboxObject *self, uint64_t target, uint64_t source,
                       uint64_t id)
{
    pn_way way = {0};
    if (!self->closed && target != 0)
        way = pn_mailbox_way(self, target);
    pn_envelope env = {
        .kind = PN_CANCEL,
        .source = source,
        .target = target,
        .id = id,
    };
    if (pn_way_exists(way) && pn_mailbox_put(self, way, &env, (pn_ref){0}) < 0)
        pn_mailbox_report(self);
}

/* Take an ask out of the table and tell its target, if it has left for it. Its
 * future, which passes to the caller, or NULL. */
static PyObject *
give_up(MailboxObject *self, uint64_t id, bool doom)
{
    const pn_waiter *waiter = pn_map_get(&self->pending.waiters, id);
    if (waiter == NULL)
        return NULL; /* settled before */
    pn_waiter found = *waiter;
    PyObject *future = pn_pending_take(&self->pending, id);
    if (pn_mailbox_drop_parked(self, id))
        return future;
    pn_mailbox_send_cancel(self, found.target, found.source, id);
    if (doom)
        pn_mailbox_doom(self, &found);
    return future;
}

void
pn_mailbox_cancel_ask(MailboxObject *self, uint64_t id)
{
    /* On another thread its reply, when it comes, finds it done. */
    if (self->thread == PyThread_get_thread_ident())
        Py_XDECREF(give_up(self, id, true));
}

/* --- deadlines at the asker --- */

static int
open_timer(MailboxObject *self)
{
    if (self->timer >= 0)
        return 0;
    self->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int err = self->timer < 0 ? -errno : PN_OK;
    if (err == PN_OK)
        err = pn_poller_add(&self->poller, self->timer, PN_WATCH_TIMER, false);
    if (err == PN_OK)
        return 0;
    if (self->timer >= 0)
        (void)close(self->timer);
    self->timer = -1;
    (void)pn_raise_status(self->state, err);
    return -1;
}

/* Have the timer go off when the first deadline is due. */
static int
arm_timer(MailboxObject *self)
{
    int64_t due = pn_deadlines_next(&self->deadlines);
    if (due == 0 || (self->timer_due != 0 && self->timer_due <= due))
        return 0;
    if (open_timer(self) < 0)
        return -1;
    struct itimerspec when = {
        .it_value = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000},
    };
    if (timerfd_settime(self->timer, TFD_TIMER_ABSTIME, &when, NULL) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    self->timer_due = due;
    return 0;
}

static bool
is_settled(void *arg, const pn_deadline *entry)
{
    const MailboxObject *self = arg;
    if (entry->owner == PN_DUE_LINK)
        return pn_direct_is_settled(self, entry->key, entry->due);
    return pn_map_get(&self->pending.waiters, entry->key) == NULL;
}

int
pn_mailbox_set_timer(MailboxObject *self, int64_t due, uint64_t key,
                     uint64_t what)
{
    size_t live = pn_pending_count(&self->pending) + self->neighbours.count;
    if (pn_deadlines_add(&self->deadlines, due, key, what) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    pn_deadlines_sweep(&self->deadlines, live, is_settled, self);
    return arm_timer(self);
}

int
pn_mailbox_set_deadline(MailboxObject *self, uint64_t id, int64_t due)
{
    return pn_mailbox_set_timer(self, due, id, PN_DUE_ASK);
}

static void
expire_ask(MailboxObject *self, uint64_t id)
{
    const pn_waiter *waiter = pn_map_get(&self->pending.waiters, id);
    uint64_t target = waiter == NULL ? 0 : waiter->target;
    /* What runs past its deadline ends its process by itself. */
    PyObject *future = give_up(self, id, false);
    if (future == NULL)
        return;
    if (pn_sink_check(self->state, future))
        pn_sink_empty((SinkObject *)future);
    PyObject *error = pn_mailbox_load_error(self, target, "deadline", "", 0);
    if (error == NULL)
        error = pn_take_exception();
    pn_mailbox_resolve(self, future, true, error);
    Py_XDECREF(error);
    Py_DECREF(future);
}

void
pn_mailbox_expire(MailboxObject *self)
{
    uint64_t times;
    if (self->timer >= 0 && read(self->timer, &times, sizeof times) < 0 &&
        errno != EAGAIN)
        return;
    self->timer_due = 0;
    int64_t now = pn_clock_now();
    pn_deadline entry;
    while (pn_deadlines_take(&self->deadlines, now, &entry)) {
        if (entry.owner == PN_DUE_LINK)
            pn_direct_look(self, entry.key, entry.due);
        else
            expire_ask(self, entry.key);
    }
    if (!self->closed && arm_timer(self) < 0)
        pn_mailbox_report(self);
}

/* --- at the target --- */

bool
pn_mailbox_was_recalled(MailboxObject *self, uint64_t source, uint64_t id)
{
    return pn_recalled_take(&self->recalled, pn_request_key(source, id));
}

static void
cancel_task(MailboxObject *self, PyObject *task)
{
    Py_INCREF(task);
    PyObject *done = PyObject_CallMethod(task, "cancel", NULL);
    if (done == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(done);
    Py_DECREF(task);
}

void
pn_mailbox_recall(MailboxObject *self, uint64_t target, uint64_t source,
                  uint64_t id)
{
    CellObject *cell = pn_mailbox_cell(self, target);
    RequestObject *request = pn_request_find(self, source, id);
    if (request != NULL) {
        request->cancelled = true;
        if (request->task != NULL)
            cancel_task(self, request->task);
    } else if (cell == NULL || !pn_cell_drop_ask(cell, source, id)) {
        /* Without memory it runs in vain, no more. */
        (void)pn_recalled_add(&self->recalled, pn_request_key(source, id),
                              pn_clock_now());
    }
}
