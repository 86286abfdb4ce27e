/* LoopCore: turns. A turn looks at the descriptors, adds the timers that are
 * due, and calls what was ready when it began to call. */
#include "python/error.h"
#include "python/handle.h"
#include "python/loop.h"
#include "sys/clock.h"

#include <errno.h>

/* As asyncio's: no wait is longer than a day. */
#define LONGEST 86400000000000

PyObject *
pn_loop_time(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(unused))
{
    return PyFloat_FromDouble((double)pn_clock_now() / 1e9);
}

int
pn_loop_learn_time(LoopObject *self)
{
    PyObject *time = PyObject_GetAttr((PyObject *)self, self->state->time);
    if (time == NULL)
        return -1;
    self->own_time = PyCFunction_Check(time) &&
                     PyCFunction_GET_FUNCTION(time) == pn_loop_time;
    Py_DECREF(time);
    return 0;
}

int
pn_loop_now(LoopObject *self, int64_t *out)
{
    if (self->own_time) {
        *out = pn_clock_now();
        return 0;
    }
    PyObject *now =
        PyObject_CallMethodNoArgs((PyObject *)self, self->state->time);
    double seconds = now == NULL ? -1.0 : PyFloat_AsDouble(now);
    Py_XDECREF(now);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    *out = pn_timers_when(seconds);
    return 0;
}

/* --- timers --- */

static bool
is_cancelled(void *item)
{
    return pn_handle_is_cancelled(item);
}

static void
drop_timer(void *item)
{
    pn_handle_schedule(item, false);
    Py_DECREF((PyObject *)item);
}

/* Take what is cancelled from the top, or everywhere if it is much. */
static int
tidy(LoopObject *self)
{
    pn_timers *timers = &self->timers;
    if (pn_timers_is_littered(timers)) {
        int err = pn_timers_sweep(timers, is_cancelled, drop_timer);
        if (err < 0) {
            pn_raise_status(self->state, err);
            return -1;
        }
        return 0;
    }
    while (timers->count > 0 && is_cancelled(timers->entries[0].item)) {
        timers->cancelled--;
        drop_timer(pn_timers_take(timers, INT64_MAX));
    }
    return 0;
}

/* Move what is due to what is ready. */
static int
take_due(LoopObject *self, int64_t now)
{
    pn_timers *timers = &self->timers;
    while (timers->count > 0 && pn_timers_next(timers) <= now) {
        PyObject *handle = timers->entries[0].item;
        int err = pn_ready_push(&self->ready, handle);
        if (err < 0) {
            pn_raise_status(self->state, err);
            return -1;
        }
        (void)pn_timers_take(timers, now);
        timers->cancelled -= pn_handle_is_cancelled(handle);
        pn_handle_schedule(handle, false);
    }
    return 0;
}

/* --- descriptors --- */

/* Have who waits for that called, unless he has been cancelled. */
static int
tell_waiter(LoopObject *self, int fd, bool writing)
{
    PyObject *handle = pn_watches_get(&self->watches, fd, writing);
    if (handle == NULL)
        return 0;
    if (!pn_handle_is_cancelled(handle))
        return pn_loop_push(self, handle);
    Py_DECREF((PyObject *)pn_watches_remove(&self->watches, fd, writing));
    return 0;
}

static int
tell_waiters(LoopObject *self, const pn_watch_event *events, int count)
{
    int guest = self->guest == NULL ? -1 : pn_guest_fd(self->guest);
    for (int i = 0; i < count; i++) {
        const pn_watch_event *event = &events[i];
        if (event->fd == guest) {
            pn_guest_serve(self->guest);
            continue;
        }
        if (event->readable && tell_waiter(self, event->fd, false) < 0)
            return -1;
        if (event->writable && tell_waiter(self, event->fd, true) < 0)
            return -1;
    }
    return 0;
}

/* Without the GIL: spin, sleep, look. */
static int
wait_for(LoopObject *self, pn_watch_event *events, int64_t ns)
{
    if (ns == 0 || pn_spin_wait(&self->spin, ns))
        return pn_watches_wait(&self->watches, events, 0);
    int count = pn_watches_wait(&self->watches, events, ns);
    pn_spin_woke(&self->spin);
    return count;
}

/* Wait so long, 0: only look. 0, or -1 with an exception, be it that of a
 * signal handler. */
static int
look(LoopObject *self, int64_t ns)
{
    pn_watch_event events[PN_WATCH_EVENTS];
    if (PyErr_CheckSignals() < 0)
        return -1;
    /* A signal's handler may have made something ready. */
    if (self->ready.count > 0 || self->stopping)
        ns = 0;
    /* If there are no descriptors left, who wakes it hears of that. */
    if (ns != 0)
        (void)pn_loop_make_guest(self);
    self->asleep = ns != 0;
    PyThreadState *thread = PyEval_SaveThread();
    int count = wait_for(self, events, ns);
    PyEval_RestoreThread(thread);
    self->asleep = false;
    self->woken = false;
    pn_pace_looked(&self->pace, pn_clock_now());
    if (count == -EINTR)
        return PyErr_CheckSignals();
    if (count < 0) {
        pn_raise_status(self->state, count);
        return -1;
    }
    return tell_waiters(self, events, count);
}

/* How long nothing happens by itself; negative: for ever. */
static int64_t
quiet_for(LoopObject *self, int64_t now)
{
    if (self->ready.count > 0 || self->stopping)
        return 0;
    if (self->timers.count == 0)
        return -1;
    int64_t due = pn_timers_next(&self->timers);
    if (due <= now)
        return 0;
    return due - LONGEST > now ? LONGEST : due - now;
}

/* Look, if it is time to; *now is what the clock says then. */
static int
look_in_time(LoopObject *self, int64_t *now)
{
    int64_t ns = quiet_for(self, *now);
    int64_t real = self->own_time ? *now : pn_clock_now();
    if (ns == 0 && !pn_pace_is_due(&self->pace, real))
        return 0;
    if (look(self, ns) < 0)
        return -1;
    return self->timers.count == 0 ? 0 : pn_loop_now(self, now);
}

/* --- calling --- */

static int
run_slowly(LoopObject *self, PyObject *handle)
{
    PyObject *args[] = {(PyObject *)self, handle};
    Py_XSETREF(self->current_handle, Py_NewRef(handle));
    PyObject *done =
        PyObject_Vectorcall(self->state->run_debugged, args, 2, NULL);
    Py_XSETREF(self->current_handle, Py_NewRef(Py_None));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* A handle that is not of ours. */
static int
run_foreign(LoopObject *self, PyObject *handle)
{
    PyObject *cancelled = PyObject_GetAttr(handle, self->state->cancelled);
    int is = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    if (is != 0)
        return is < 0 ? -1 : 0;
    PyObject *done = PyObject_CallMethod(handle, "_run", NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
run_one(LoopObject *self, PyObject *handle)
{
    PyObject *type = (PyObject *)Py_TYPE(handle);
    bool ours =
        type == self->state->handle_type || type == self->state->timer_type;
    if (ours && pn_handle_is_cancelled(handle))
        return 0;
    if (self->debug)
        return run_slowly(self, handle);
    return ours ? pn_handle_run(self->state, handle)
                : run_foreign(self, handle);
}

static int
run_ready(LoopObject *self)
{
    for (size_t left = self->ready.count; left > 0; left--) {
        PyObject *handle = pn_ready_take(&self->ready);
        if (handle == NULL)
            break;
        int err = run_one(self, handle);
        Py_DECREF(handle);
        if (err < 0)
            return -1;
    }
    return 0;
}

static int
turn(LoopObject *self)
{
    int64_t now;
    if (self->forked) {
        PyErr_SetString(PyExc_RuntimeError,
                        "This event loop belongs to the process that made "
                        "it; a forked child needs one of its own");
        return -1;
    }
    if (tidy(self) < 0 || pn_loop_now(self, &now) < 0 ||
        look_in_time(self, &now) < 0 || take_due(self, now) < 0)
        return -1;
    return run_ready(self);
}

static PyObject *
loop_run_once(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopObject *self = (LoopObject *)op;
    if (pn_loop_check_closed(self) < 0 || pn_loop_learn_time(self) < 0)
        return NULL;
    pn_pace_hurry(&self->pace);
    if (turn(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
loop_run_turns(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopObject *self = (LoopObject *)op;
    if (pn_loop_check_closed(self) < 0 || pn_loop_learn_time(self) < 0)
        return NULL;
    pn_pace_hurry(&self->pace);
    do {
        if (turn(self) < 0)
            return NULL;
    } while (!self->stopping);
    Py_RETURN_NONE;
}

PyMethodDef pn_loop_turn_methods[] = {
    {"time", pn_loop_time, METH_NOARGS,
     PyDoc_STR("time($self, /)\n--\n\n"
               "The clock of the loop: monotonic, in seconds.")},
    {"_run_once", loop_run_once, METH_NOARGS,
     PyDoc_STR("_run_once($self, /)\n--\n\nOne turn.")},
    {"_run_turns", loop_run_turns, METH_NOARGS,
     PyDoc_STR("_run_turns($self, /)\n--\n\nTurns, until stop() is called.")},
    {NULL, NULL, 0, NULL},
};
