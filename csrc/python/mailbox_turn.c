/* Turns of the loop: what has come is read and handled in bounded batches. */
#include "base/status.h"
#include "python/cell.h"
#include "python/error.h"
#include "python/mailbox_direct.h"
#include "python/mailbox_flight.h"
#include "python/mailbox_linger.h"
#include "python/mailbox_park.h"
#include "python/mailbox_payload.h"
#include "python/mailbox_told.h"
#include "python/spinner.h"
#include "sys/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

/* A batch of messages may hold the loop this long; then others get a turn. */
#define BATCH_NS 2000000

/* Whoever has something gets at least so much of a batch. */
#define SLICE_NS 100000

/* Receives of one link before others get a turn. */
#define RECEIVE_ROUNDS 8

int
pn_mailbox_request_turn(MailboxObject *self)
{
    if (self->turn || self->call_soon == NULL)
        return 0;
    PyObject *call_soon = Py_NewRef(self->call_soon);
    PyObject *end_turn = Py_NewRef(self->end_turn);
    self->turn = true; /* before the call, which may be end_turn itself */
    PyObject *handle = PyObject_CallOneArg(call_soon, end_turn);
    Py_DECREF(call_soon);
    Py_DECREF(end_turn);
    if (handle == NULL) {
        self->turn = false;
        return -1;
    }
    Py_DECREF(handle);
    return 0;
}

/* --- the loop --- */

int
pn_mailbox_detach(MailboxObject *self)
{
    PyObject *loop = self->loop;
    if (loop == NULL)
        return 0;
    self->loop = NULL;
    PyObject *closed = PyObject_CallMethod(loop, "is_closed", NULL);
    int is_closed = closed == NULL ? -1 : PyObject_IsTrue(closed);
    Py_XDECREF(closed);
    PyObject *removed = NULL;
    if (is_closed == 0 && self->poller.fd >= 0)
        removed =
            PyObject_CallMethod(loop, "remove_reader", "i", self->poller.fd);
    else if (is_closed >= 0)
        removed = Py_NewRef(Py_None);
    Py_DECREF(loop);
    if (removed == NULL)
        return -1;
    Py_DECREF(removed);
    return 0;
}

/* What is called of a loop. */
typedef struct {
    PyObject *call_soon;
    PyObject *end_turn;
    PyObject *on_ready;
    PyObject *of_loop;
} loop_calls;

static int
look_up_calls(PyObject *op, PyObject *loop, loop_calls *out)
{
    *out =
        (loop_calls){.call_soon = PyObject_GetAttrString(loop, "call_soon")};
    if (out->call_soon != NULL)
        out->end_turn = PyObject_GetAttrString(op, "_end_turn");
    if (out->end_turn != NULL)
        out->on_ready = PyObject_GetAttrString(op, "_on_ready");
    if (out->on_ready != NULL)
        out->of_loop = Py_BuildValue("{sO}", "loop", loop);
    if (out->of_loop != NULL)
        return 0;
    Py_XDECREF(out->call_soon);
    Py_XDECREF(out->end_turn);
    Py_XDECREF(out->on_ready);
    return -1;
}

/* Every look-up may run code of the loop's, so nothing is set before all are
 * done. */
PyObject *
pn_mailbox_attach(PyObject *op, PyObject *loop)
{
    MailboxObject *self = (MailboxObject *)op;
    if (pn_mailbox_check(self) < 0 || pn_mailbox_open(self) < 0)
        return NULL;
    PyObject *context = PyContext_CopyCurrent();
    if (context == NULL)
        return NULL;
    Py_XSETREF(self->context, context);
    loop_calls calls;
    if (look_up_calls(op, loop, &calls) < 0)
        return NULL;
    PyObject *added = NULL;
    if (pn_mailbox_detach(self) == 0)
        added = PyObject_CallMethod(loop, "add_reader", "iO", self->poller.fd,
                                    calls.on_ready);
    Py_DECREF(calls.on_ready);
    Py_XSETREF(self->call_soon, calls.call_soon);
    Py_XSETREF(self->end_turn, calls.end_turn);
    Py_XSETREF(self->of_loop, calls.of_loop);
    if (added == NULL)
        return NULL;
    Py_DECREF(added);
    Py_XSETREF(self->loop, Py_NewRef(loop));
    self->held = false;
    self->turn = false; /* the one that was asked of another loop */
    if (pn_mailbox_request_turn(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* --- batches --- */

/* When who is next must end, if so many share what is left, at least one. */
static int64_t
slice_end(int64_t deadline, size_t sharers)
{
    int64_t now = pn_clock_now();
    int64_t slice = (deadline - now) / (int64_t)sharers;
    return now + (slice > SLICE_NS ? slice : SLICE_NS);
}

/* Handle the messages that lie in the peer's inbox, until it is empty or time
 * is up. Returns PN_MORE when empty, PN_OK when time is up, or a failure. */
static int
drain_inbox(MailboxObject *self, pn_peer *peer, int64_t deadline)
{
    pn_part part;
    int err = PN_MORE;
    while (!pn_direct_is_deaf(peer) &&
           (err = pn_inbox_next(&peer->link.in, &part)) == PN_OK) {
        err = pn_mailbox_receive(self, peer, &part);
        if (err < 0 || peer->lost)
            return err;
        err = PN_MORE;
        if (self->held || PyErr_Occurred() ||
            pn_flight_clock(self) > deadline) {
            peer->unread = true;
            return PN_OK;
        }
    }
    peer->unread = false;
    return err;
}

/* A link that has nothing half received reads into the common buffer. */
static void
lend_buffer(MailboxObject *self, pn_peer *peer)
{
    if (peer->link.in.bytes.data == NULL) {
        peer->link.in.bytes = self->spare;
        self->spare = (pn_buffer){0};
    }
}

static void
take_buffer_back(MailboxObject *self, pn_peer *peer)
{
    pn_inbox *in = &peer->link.in;
    if (in->given < pn_buffer_size(&in->bytes) || self->spare.data != NULL)
        return;
    self->spare = (pn_buffer){
        .data = in->bytes.data,
        .capacity = in->bytes.capacity,
    };
    in->bytes = (pn_buffer){0};
    in->given = 0;
}

static void
read_peer(MailboxObject *self, pn_peer *peer, int64_t deadline)
{
    bool full = true;
    int err = PN_OK;
    lend_buffer(self, peer);
    if (peer->unread)
        err = drain_inbox(self, peer, deadline);
    for (int i = 0; i < RECEIVE_ROUNDS && full && !peer->unread; i++) {
        if (err < 0 || peer->lost || pn_direct_is_deaf(peer))
            break;
        err = pn_link_receive(&peer->link, &full);
        if (err != PN_OK)
            break;
        err = drain_inbox(self, peer, deadline);
    }
    if (err < 0)
        pn_mailbox_lose(self, peer, err);
    if (peer->lost)
        return;
    take_buffer_back(self, peer);
    (void)pn_mailbox_watch(self, peer, peer->armed);
}

int
pn_mailbox_read_once(MailboxObject *self, pn_peer *peer)
{
    bool full;
    lend_buffer(self, peer);
    int err = drain_inbox(self, peer, INT64_MAX);
    if (err == PN_MORE && !peer->lost && !pn_direct_is_deaf(peer)) {
        err = pn_link_receive(&peer->link, &full);
    }
    if (err < 0)
        pn_mailbox_lose(self, peer, err);
    if (!peer->lost)
        take_buffer_back(self, peer);
    return err;
}

/* Leave a dispatch: everything that was answered leaves now. */
static void
leave_dispatch(MailboxObject *self)
{
    pn_mailbox_tend_segments(self);
    self->busy = false;
    pn_mailbox_flush_dirty(self);
    PyObject *future;
    while (!self->busy &&
           (future = pn_askfutures_take(&self->woken)) != NULL) {
        if (pn_askfuture_wake(future, false) < 0)
            pn_mailbox_report(self);
        Py_DECREF(future);
    }
    if (!self->busy)
        pn_mailbox_free_graveyard(self);
}

/* Handle what has come from this process, until there is none or time is
 * up. */
static void
read_box(MailboxObject *self, int64_t deadline)
{
    pn_letter *letter;
    while (self->box != NULL && !self->held && !PyErr_Occurred() &&
           (letter = pn_box_take(self->box)) != NULL) {
        pn_mailbox_receive_near(self, letter);
        pn_letter_free(letter);
        if (pn_flight_clock(self) > deadline)
            break;
    }
}

/* What is left over in the box and in links' inboxes: each gets its share. */
static void
read_unread(MailboxObject *self, int64_t deadline)
{
    pn_peer *unread[PN_POLL_BATCH];
    size_t cursor = 0, count = 0;
    const pn_map_entry *entry;
    while (count < PN_POLL_BATCH &&
           (entry = pn_map_next(&self->peers, &cursor)) != NULL) {
        pn_peer *peer = entry->value;
        if (peer->unread)
            unread[count++] = peer;
    }
    read_box(self, slice_end(deadline, count + 1));
    for (size_t i = 0; i < count && !self->closed; i++) {
        if (!unread[i]->lost && !PyErr_Occurred())
            read_peer(self, unread[i], slice_end(deadline, count - i));
    }
}

static bool
any_unread(const MailboxObject *self)
{
    if (self->box != NULL && pn_box_is_awake(self->box))
        return true;
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL) {
        const pn_peer *peer = entry->value;
        if (peer->unread)
            return true;
    }
    return false;
}

/* --- waking --- */

/* Wake who was answered in this batch, as the loop would; what they send
 * leaves together, unless there is one alone. With an exception set, which
 * ends the loop, the loop itself is to wake them. */
static void
wake_answered(MailboxObject *self)
{
    PyObject *future;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    pn_mailbox_look_at_boxes(self);
    self->lone = self->dirty == NULL && self->woken.first == self->woken.last;
    while ((future = pn_askfutures_take(&self->woken)) != NULL) {
        pn_mailbox_flush_stale(self, pn_clock_now());
        if (pn_askfuture_wake(future, type == NULL) < 0 && type == NULL)
            PyErr_Fetch(&type, &value, &traceback);
        else if (PyErr_Occurred())
            pn_mailbox_report(self);
        Py_DECREF(future);
    }
    self->lone = false;
    PyErr_Restore(type, value, traceback);
}

/* Whether something is to be done in another turn. */
static bool
is_left(const MailboxObject *self)
{
    return self->ready != NULL || self->look_at_park || any_unread(self);
}

/* Do what is left for other turns; None, or NULL if a command raised what is
 * to end the program's loop. */
static PyObject *
finish_batch(MailboxObject *self)
{
    PyObject *type, *value, *traceback;
    wake_answered(self);
    PyErr_Fetch(&type, &value, &traceback);
    pn_mailbox_unpark(self);
    leave_dispatch(self);
    pn_flight_turn(self);
    self->turn_began = 0;
    if (!self->closed && !self->held && is_left(self) &&
        pn_mailbox_request_turn(self) < 0)
        pn_mailbox_report(self);
    if (type == NULL)
        Py_RETURN_NONE;
    PyErr_Restore(type, value, traceback);
    return NULL;
}

/* Read what was left over in the turn before. */
static PyObject *
read_left_over(MailboxObject *self)
{
    int64_t deadline = pn_flight_clock(self) + BATCH_NS;
    self->busy = true;
    read_unread(self, deadline);
    pn_mailbox_run_ready(self, deadline);
    return finish_batch(self);
}

static void
handle_peer(MailboxObject *self, const pn_poll_event *event, int64_t deadline)
{
    pn_peer *peer = pn_mailbox_watched(self, event->owner);
    if (peer == NULL)
        return;
    if (event->writable || peer->muted) /* its end is told as readable */
        pn_mailbox_flush_peer(self, peer);
    if (event->readable && !peer->lost)
        read_peer(self, peer, deadline);
}

static void
handle_events(MailboxObject *self, const pn_poll_event *events, int count)
{
    int64_t deadline = pn_clock_now() + BATCH_NS;
    for (int i = 0; i < count && !self->closed && !PyErr_Occurred(); i++) {
        if (events[i].owner == PN_WATCH_TIMER) {
            pn_mailbox_expire(self);
        } else if (events[i].owner == PN_WATCH_BOX) {
            pn_box_acknowledge(self->box);
            read_box(self, slice_end(deadline, (size_t)(count - i)));
        } else {
            handle_peer(self, &events[i],
                        slice_end(deadline, (size_t)(count - i)));
        }
    }
}

PyObject *
pn_mailbox_dispatch(MailboxObject *self)
{
    pn_poll_event events[PN_POLL_BATCH];
    int count = pn_poller_wait(&self->poller, events, PN_POLL_BATCH, 0);
    if (count < 0)
        return pn_raise_status(self->state, count);
    self->busy = true;
    self->flushed_at = pn_flight_clock(self);
    handle_events(self, events, count);
    return finish_batch(self);
}

PyObject *
pn_mailbox_end_turn(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    bool lingers = self->lingers;
    self->turn = self->lingers = false;
    self->turn_began = 0;
    if (self->closed || self->busy)
        Py_RETURN_NONE;
    pn_mailbox_tend_segments(self);
    pn_mailbox_flush_dirty(self);
    if (self->closed || self->held)
        Py_RETURN_NONE;
    PyObject *done = is_left(self) ? read_left_over(self) : Py_NewRef(Py_None);
    return lingers ? pn_mailbox_linger_on(self, done) : done;
}

PyObject *
pn_mailbox_on_ready(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    if (self->closed || self->busy || self->held || self->poller.fd < 0)
        Py_RETURN_NONE;
    if (self->spinner != NULL)
        pn_spinner_woke(self->spinner);
    return pn_mailbox_linger_on(self, pn_mailbox_dispatch(self));
}

/* What poll takes: nothing of what is negative, or no number. */
static int
milliseconds(double seconds)
{
    if (!(seconds > 0))
        return 0;
    return seconds < INT_MAX / 1000 ? (int)(seconds * 1000) : INT_MAX;
}

PyObject *
pn_mailbox_wait(PyObject *op, PyObject *seconds)
{
    MailboxObject *self = (MailboxObject *)op;
    double timeout = PyFloat_AsDouble(seconds);
    if (PyErr_Occurred() || pn_mailbox_check(self) < 0)
        return NULL;
    if (is_left(self)) { /* left over when a batch took too long */
        PyObject *done = pn_mailbox_end_turn(op, NULL);
        Py_XDECREF(done);
        return done == NULL ? NULL : Py_NewRef(Py_True);
    }
    struct pollfd item = {.fd = self->poller.fd, .events = POLLIN};
    int ready;
    Py_BEGIN_ALLOW_THREADS
    ready = poll(&item, 1, milliseconds(timeout));
    Py_END_ALLOW_THREADS
    if (ready < 0 && errno != EINTR)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (PyErr_CheckSignals() < 0)
        return NULL;
    if (ready <= 0)
        Py_RETURN_FALSE;
    PyObject *done = pn_mailbox_on_ready(op, NULL);
    if (done == NULL)
        return NULL;
    Py_DECREF(done);
    Py_RETURN_TRUE;
}

PyObject *
pn_mailbox_flush(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    if (pn_mailbox_check(self) < 0)
        return NULL;
    pn_mailbox_flush_dirty(self);
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL) {
        const pn_peer *peer = entry->value;
        if (!pn_outbox_empty(&peer->link.out))
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}
