/* LoopCore: what is to be called, soon or later. */
#include "python/error.h"
#include "python/handle.h"
#include "python/loop.h"
#include "sys/clock.h"

#include <math.h>

/* What a method takes: `name`, with one or two leading parameters. */
typedef struct {
    const char *name;
    Py_ssize_t count;
    const char *leading[2];
} call_signature;

static const call_signature call_soon_of = {"call_soon", 1, {"callback"}};
static const call_signature threadsafe_of = {
    "call_soon_threadsafe", 1, {"callback"}};
static const call_signature call_later_of = {
    "call_later", 2, {"delay", "callback"}};
static const call_signature call_at_of = {"call_at", 2, {"when", "callback"}};

/* The arguments of a call, borrowed but for rest. */
typedef struct {
    PyObject *leading[2];
    PyObject *context; /* NULL: none was given */
    PyObject *rest;    /* new tuple: for the callback */
} call_arguments;

static int
take_keyword(pn_state *state, const call_signature *signature, PyObject *name,
             PyObject *value, call_arguments *out)
{
    if (name == state->context_name ||
        PyUnicode_CompareWithASCIIString(name, "context") == 0) {
        out->context = value == Py_None ? NULL : value;
        return 0;
    }
    for (Py_ssize_t i = 0; i < signature->count; i++) {
        if (out->leading[i] == NULL && PyUnicode_CompareWithASCIIString(
                                           name, signature->leading[i]) == 0) {
            out->leading[i] = value;
            return 0;
        }
    }
    PyErr_Format(PyExc_TypeError,
                 "%s() got an unexpected keyword argument '%U'",
                 signature->name, name);
    return -1;
}

/* 0, or -1 with TypeError set. */
static int
take_arguments(pn_state *state, const call_signature *signature,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               call_arguments *out)
{
    *out = (call_arguments){0};
    Py_ssize_t count = signature->count;
    for (Py_ssize_t i = 0; i < count && i < nargs; i++)
        out->leading[i] = args[i];
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < named; i++) {
        if (take_keyword(state, signature, PyTuple_GET_ITEM(kwnames, i),
                         args[nargs + i], out) < 0)
            return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (out->leading[i] == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing required positional argument: '%s'",
                         signature->name, signature->leading[i]);
            return -1;
        }
    }
    if (nargs <= count) {
        out->rest = Py_NewRef(state->no_arguments);
        return 0;
    }
    out->rest = PyTuple_New(nargs - count);
    if (out->rest == NULL)
        return -1;
    for (Py_ssize_t i = count; i < nargs; i++)
        PyTuple_SET_ITEM(out->rest, i - count, Py_NewRef(args[i]));
    return 0;
}

/* What debug mode looks at, in Python. 0, or -1 with an exception. */
static int
check_call(LoopObject *self, bool own_thread, PyObject *callback,
           const char *method)
{
    PyObject *done = Py_None;
    if (own_thread) {
        done = PyObject_CallMethod((PyObject *)self, "_check_thread", NULL);
        if (done == NULL)
            return -1;
        Py_DECREF(done);
    }
    done = PyObject_CallMethod((PyObject *)self, "_check_callback", "Os",
                               callback, method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* A handle for what was given; takes over arguments->rest. */
static PyObject *
make_handle(LoopObject *self, call_arguments *arguments, PyObject *callback,
            PyObject *when)
{
    PyObject *handle =
        pn_handle_new(self->state, (PyObject *)self, callback, arguments->rest,
                      arguments->context, when);
    if (handle == NULL || !self->debug)
        return handle;
    PyObject *stack = PyObject_CallNoArgs(self->state->extract_stack);
    if (stack == NULL) {
        Py_DECREF(handle);
        return NULL;
    }
    Py_XSETREF(((pn_handle *)handle)->source_traceback, stack);
    return handle;
}

int
pn_loop_push(LoopObject *self, PyObject *handle)
{
    int err = pn_ready_push(&self->ready, handle);
    if (err < 0) {
        pn_raise_status(self->state, err);
        return -1;
    }
    Py_INCREF(handle);
    return 0;
}

static PyObject *
call_soon(LoopObject *self, const call_signature *signature, bool own_thread,
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    call_arguments arguments;
    if (take_arguments(self->state, signature, args, nargs, kwnames,
                       &arguments) < 0)
        return NULL;
    PyObject *callback = arguments.leading[0];
    if (pn_loop_check_closed(self) < 0 ||
        (self->debug &&
         check_call(self, own_thread, callback, signature->name) < 0)) {
        Py_DECREF(arguments.rest);
        return NULL;
    }
    PyObject *handle = make_handle(self, &arguments, callback, NULL);
    if (handle != NULL && pn_loop_push(self, handle) < 0)
        Py_CLEAR(handle);
    return handle;
}

static PyObject *
loop_call_soon(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    return call_soon((LoopObject *)op, &call_soon_of, true, args, nargs,
                     kwnames);
}

int
pn_loop_make_guest(LoopObject *self)
{
    int err = 0;
    void *old;
    if (self->guest != NULL)
        return 0;
    pn_guest *guest = pn_guest_new(&err);
    if (guest != NULL)
        err = pn_watches_add(&self->watches, pn_guest_fd(guest), false, guest,
                             &old);
    if (err < 0)
        pn_guest_free(guest);
    else
        self->guest = guest;
    return err;
}

int
pn_loop_wake(LoopObject *self)
{
    if (!self->asleep || self->woken)
        return 0;
    int err = pn_loop_make_guest(self);
    if (err < 0) {
        pn_raise_status(self->state, err);
        return -1;
    }
    self->woken = true;
    pn_guest_wake(self->guest);
    return 0;
}

static PyObject *
loop_call_soon_threadsafe(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    PyObject *handle =
        call_soon(self, &threadsafe_of, false, args, nargs, kwnames);
    if (handle != NULL && pn_loop_wake(self) < 0)
        Py_CLEAR(handle);
    return handle;
}

/* --- timers --- */

/* A handle for callback at when, a number of seconds. */
static PyObject *
call_at(LoopObject *self, call_arguments *arguments, PyObject *when)
{
    PyObject *callback = arguments->leading[1];
    double seconds = PyFloat_AsDouble(when);
    if ((seconds == -1.0 && PyErr_Occurred()) ||
        pn_loop_check_closed(self) < 0 ||
        (self->debug && check_call(self, true, callback, "call_at") < 0)) {
        Py_DECREF(arguments->rest);
        return NULL;
    }
    PyObject *handle = make_handle(self, arguments, callback, when);
    if (handle == NULL)
        return NULL;
    int err = pn_timers_add(&self->timers, pn_timers_when(seconds), handle);
    if (err < 0) {
        Py_DECREF(handle);
        return pn_raise_status(self->state, err);
    }
    pn_handle_schedule(handle, true);
    return Py_NewRef(handle);
}

static PyObject *
loop_call_at(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    call_arguments arguments;
    if (take_arguments(self->state, &call_at_of, args, nargs, kwnames,
                       &arguments) < 0)
        return NULL;
    if (arguments.leading[0] == Py_None) {
        Py_DECREF(arguments.rest);
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    return call_at(self, &arguments, arguments.leading[0]);
}

/* time() + delay, as a new reference; delays that are no float by Python's
 * own addition, as are clocks of subclasses. */
static PyObject *
moment_after(LoopObject *self, PyObject *delay)
{
    if (self->thread_id == Py_None && pn_loop_learn_time(self) < 0)
        return NULL;
    if (self->own_time &&
        (PyFloat_CheckExact(delay) || PyLong_CheckExact(delay))) {
        double seconds = PyFloat_AsDouble(delay);
        if (seconds == -1.0 && PyErr_Occurred())
            return NULL;
        return PyFloat_FromDouble((double)pn_clock_now() / 1e9 + seconds);
    }
    PyObject *now =
        PyObject_CallMethodNoArgs((PyObject *)self, self->state->time);
    PyObject *when = now == NULL ? NULL : PyNumber_Add(now, delay);
    Py_XDECREF(now);
    return when;
}

static PyObject *
loop_call_later(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    call_arguments arguments;
    PyObject *when = NULL;
    if (take_arguments(self->state, &call_later_of, args, nargs, kwnames,
                       &arguments) < 0)
        return NULL;
    if (arguments.leading[0] == Py_None)
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
    else
        when = moment_after(self, arguments.leading[0]);
    if (when == NULL) {
        Py_DECREF(arguments.rest);
        return NULL;
    }
    PyObject *handle = call_at(self, &arguments, when);
    Py_DECREF(when);
    return handle;
}

/* As asyncio has it; handles of ours do not ask. */
static PyObject *
loop_timer_handle_cancelled(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(arg))
{
    Py_RETURN_NONE;
}

static PyObject *
loop_add_callback(PyObject *op, PyObject *handle)
{
    PyObject *cancelled =
        PyObject_GetAttr(handle, ((LoopObject *)op)->state->cancelled);
    int is = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    if (is < 0 || (is == 0 && pn_loop_push((LoopObject *)op, handle) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
loop_write_to_self(PyObject *op, PyObject *Py_UNUSED(unused))
{
    if (pn_loop_wake((LoopObject *)op) < 0)
        return NULL;
    Py_RETURN_NONE;
}

#define FAST(function) (PyCFunction)(void (*)(void)) function

PyMethodDef pn_loop_call_methods[] = {
    {"call_soon", FAST(loop_call_soon), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("call_soon($self, callback, *args, context=None)\n--\n\n"
               "Have callback(*args) called in the next turn.")},
    {"call_soon_threadsafe", FAST(loop_call_soon_threadsafe),
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("call_soon_threadsafe($self, callback, *args, context=None)\n"
               "--\n\nAs call_soon, from any thread.")},
    {"call_later", FAST(loop_call_later), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("call_later($self, delay, callback, *args, "
               "context=None)\n--\n\n"
               "Have callback(*args) called after so many seconds.")},
    {"call_at", FAST(loop_call_at), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("call_at($self, when, callback, *args, context=None)\n"
               "--\n\nHave callback(*args) called when time() is when.")},
    {"_timer_handle_cancelled", loop_timer_handle_cancelled, METH_O, NULL},
    {"_add_callback", loop_add_callback, METH_O,
     PyDoc_STR("_add_callback($self, handle, /)\n--\n\n"
               "Have the handle called in the next turn.")},
    {"_write_to_self", loop_write_to_self, METH_NOARGS,
     PyDoc_STR("_write_to_self($self, /)\n--\n\n"
               "Wake the loop, from any thread.")},
    {NULL, NULL, 0, NULL},
};
