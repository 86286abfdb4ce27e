#include "python/stream.h"

#include "python/sending.h"
#include "python/sink.h"

typedef struct {
    PyObject_HEAD SinkObject *sink; /* strong */
} StreamObject;

/* Awaited once. Without a stream it is done: `ready` is its result. */
typedef struct {
    PyObject_HEAD StreamObject *stream; /* strong, or NULL */
    PyObject *ready;                    /* strong, or NULL */
    PyObject *future;  /* what it waits for now; strong, or NULL */
    PyObject *waiting; /* the iterator of that future */
} StepObject;

/* --- steps --- */

static int
step_traverse(PyObject *op, visitproc visit, void *arg)
{
    StepObject *self = (StepObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->stream);
    Py_VISIT(self->ready);
    Py_VISIT(self->future);
    Py_VISIT(self->waiting);
    return 0;
}

/* It waits no longer. Exceptions stay. */
static void
stop_waiting(StepObject *self)
{
    PyObject *future = self->future, *waiting = self->waiting;
    self->future = self->waiting = NULL;
    if (future != NULL && self->stream != NULL && self->stream->sink != NULL)
        pn_sink_wait_over(self->stream->sink, future);
    Py_XDECREF(waiting);
    Py_XDECREF(future);
}

static int
step_clear(PyObject *op)
{
    StepObject *self = (StepObject *)op;
    stop_waiting(self);
    Py_CLEAR(self->stream);
    Py_CLEAR(self->ready);
    return 0;
}

static void
step_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)step_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static StepObject *
new_step(PyObject *stream)
{
    pn_state *state = pn_state_of(Py_TYPE(stream));
    if (state == NULL)
        return NULL;
    PyTypeObject *type = (PyTypeObject *)state->step_type;
    return (StepObject *)type->tp_alloc(type, 0);
}

/* Begin to wait for the sink. 0, or -1 with an exception. */
static int
begin_waiting(StepObject *self, SinkObject *sink)
{
    PyObject *future = pn_sink_wait(sink);
    if (future == NULL)
        return -1;
    Py_XSETREF(self->future, future);
    PyTypeObject *type = Py_TYPE(future);
    PyObject *waiting = NULL;
    if (type->tp_as_async != NULL && type->tp_as_async->am_await != NULL)
        waiting = type->tp_as_async->am_await(future);
    else
        PyErr_SetString(PyExc_TypeError, "the loop's futures are no futures");
    if (waiting == NULL)
        return -1;
    Py_XSETREF(self->waiting, waiting);
    return 0;
}

static PySendResult
finish(StepObject *self, PyObject *value, PyObject **result)
{
    Py_CLEAR(self->stream);
    *result = value;
    return value == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

static PySendResult
step_send(PyObject *op, PyObject *sent, PyObject **result)
{
    StepObject *self = (StepObject *)op;
    *result = NULL;
    for (;;) {
        if (self->waiting != NULL) {
            PyObject *waiting = Py_NewRef(self->waiting);
            PySendResult outcome = PyIter_Send(waiting, sent, result);
            Py_DECREF(waiting);
            if (outcome == PYGEN_NEXT)
                return outcome;
            stop_waiting(self);
            if (outcome == PYGEN_ERROR)
                return finish(self, NULL, result);
            Py_CLEAR(*result);
        }
        if (self->stream == NULL || self->stream->sink == NULL)
            break;
        SinkObject *sink =
            (SinkObject *)Py_NewRef((PyObject *)self->stream->sink);
        PyObject *value = pn_sink_take(sink);
        bool ended = value != NULL || PyErr_Occurred();
        int err = ended ? 0 : begin_waiting(self, sink);
        Py_DECREF(sink);
        if (ended)
            return finish(self, value, result);
        if (err < 0) {
            stop_waiting(self);
            return finish(self, NULL, result);
        }
        sent = Py_None;
    }
    if (self->ready == NULL)
        PyErr_SetString(PyExc_RuntimeError, "it was awaited before");
    PyObject *value = self->ready;
    self->ready = NULL;
    return finish(self, value, result);
}

/* What send gives, as a generator's method does. */
static PyObject *
step_send_method(PyObject *op, PyObject *sent)
{
    PyObject *result;
    PySendResult outcome = step_send(op, sent, &result);
    if (outcome != PYGEN_RETURN)
        return result;
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop != NULL)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
    return NULL;
}

static PyObject *
step_next(PyObject *op)
{
    return step_send_method(op, Py_None);
}

/* Raise what throw was given: an exception, or its class and value. */
static void
raise_thrown(PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    if (PyExceptionInstance_Check(args[0]))
        PyErr_SetObject((PyObject *)Py_TYPE(args[0]), args[0]);
    else if (PyExceptionClass_Check(args[0]))
        PyErr_SetObject(args[0], value);
    else
        PyErr_SetString(PyExc_TypeError, "throw takes an exception");
}

static PyObject *
step_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    StepObject *self = (StepObject *)op;
    if (nargs < 1 || nargs > 3) {
        PyErr_SetString(PyExc_TypeError, "throw takes an exception");
        return NULL;
    }
    PyObject *result = NULL, *waiting = Py_XNewRef(self->waiting);
    PyObject *throw = NULL;
    if (waiting != NULL)
        throw = PyObject_GetAttrString(waiting, "throw");
    if (throw != NULL)
        result = PyObject_Vectorcall(throw, args, (size_t)nargs, NULL);
    else if (waiting == NULL)
        raise_thrown(args, nargs);
    Py_XDECREF(throw);
    Py_XDECREF(waiting);
    if (result == NULL) {
        stop_waiting(self);
        Py_CLEAR(self->stream);
    }
    return result;
}

static PyObject *
step_close(PyObject *op, PyObject *unused)
{
    (void)unused;
    (void)step_clear(op);
    Py_RETURN_NONE;
}

static PyMethodDef step_methods[] = {
    {"send", step_send_method, METH_O,
     PyDoc_STR("send($self, value, /)\n--\n\nAs that of a coroutine.")},
    {"throw", (PyCFunction)(void (*)(void))step_throw, METH_FASTCALL,
     PyDoc_STR("throw($self, type, value=None, traceback=None, /)\n--\n\n"
               "As that of a coroutine.")},
    {"close", step_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\nAs that of a coroutine.")},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(step_doc, "The awaitable of one item of a stream.");

static PyType_Slot step_slots[] = {
    {Py_tp_doc, (void *)step_doc},    {Py_tp_methods, step_methods},
    {Py_am_await, PyObject_SelfIter}, {Py_am_send, step_send},
    {Py_tp_iter, PyObject_SelfIter},  {Py_tp_iternext, step_next},
    {Py_tp_traverse, step_traverse},  {Py_tp_clear, step_clear},
    {Py_tp_dealloc, step_dealloc},    {0, NULL},
};

static PyType_Spec step_spec = {
    .name = "pulsar_native._native.Step",
    .basicsize = sizeof(StepObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = step_slots,
};

/* --- streams --- */

static int
stream_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((StreamObject *)op)->sink);
    return 0;
}

static int
stream_clear(PyObject *op)
{
    Py_CLEAR(((StreamObject *)op)->sink);
    return 0;
}

/* Nobody can iterate over it any more. */
static void
stream_finalize(PyObject *op)
{
    PyObject *type, *value, *traceback;
    SinkObject *sink = ((StreamObject *)op)->sink;
    if (sink == NULL || sink->ended)
        return;
    PyErr_Fetch(&type, &value, &traceback);
    pn_sink_leave(sink);
    PyErr_Restore(type, value, traceback);
}

static void
stream_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    if (PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    PyObject_GC_UnTrack(op);
    (void)stream_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
stream_anext(PyObject *op)
{
    StepObject *step = new_step(op);
    if (step != NULL)
        step->stream = (StreamObject *)Py_NewRef(op);
    return (PyObject *)step;
}

/* An awaitable that is done, with this result. */
static PyObject *
ready(PyObject *op, PyObject *result)
{
    StepObject *step = new_step(op);
    if (step != NULL)
        step->ready = Py_NewRef(result);
    return (PyObject *)step;
}

static PyObject *
stream_aclose(PyObject *op, PyObject *unused)
{
    (void)unused;
    SinkObject *sink = ((StreamObject *)op)->sink;
    if (sink != NULL)
        pn_sink_leave(sink);
    return ready(op, Py_None);
}

static PyObject *
stream_enter(PyObject *op, PyObject *unused)
{
    (void)unused;
    return ready(op, op);
}

static PyObject *
stream_exit(PyObject *op, PyObject *args)
{
    (void)args;
    return stream_aclose(op, NULL);
}

static PyMethodDef stream_methods[] = {
    {"aclose", stream_aclose, METH_NOARGS,
     PyDoc_STR("aclose($self, /)\n--\n\n"
               "Leave the stream: its source is closed. Awaiting is quick: "
               "that end is not waited for.")},
    {"__aenter__", stream_enter, METH_NOARGS, NULL},
    {"__aexit__", stream_exit, METH_VARARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("Stream[T] for type checkers.")},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(stream_doc,
             "The items of a stream, from another actor: an asynchronous "
             "iterator, and a context that leaves it at its end.");

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, (void *)stream_doc},
    {Py_tp_methods, stream_methods},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, stream_anext},
    {Py_tp_traverse, stream_traverse},
    {Py_tp_clear, stream_clear},
    {Py_tp_finalize, stream_finalize},
    {Py_tp_dealloc, stream_dealloc},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "pulsar_native._native.Stream",
    .basicsize = sizeof(StreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stream_slots,
};

int
pn_add_stream(PyObject *module, pn_state *state)
{
    state->step_type = PyType_FromModuleAndSpec(module, &step_spec, NULL);
    state->stream_type = PyType_FromModuleAndSpec(module, &stream_spec, NULL);
    if (state->step_type == NULL || state->stream_type == NULL ||
        PyModule_AddType(module, (PyTypeObject *)state->step_type) < 0)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->stream_type);
}

/* --- asking for one --- */

static int
read_window(PyObject *value, uint64_t *out)
{
    int overflow;
    long long window = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (PyErr_Occurred())
        return -1;
    if (overflow != 0 || window < 1 || window > PN_WINDOW_LIMIT) {
        PyErr_Format(PyExc_ValueError, "a window is 1 to %d items, not %R",
                     PN_WINDOW_LIMIT, value);
        return -1;
    }
    *out = (uint64_t)window;
    return 0;
}

PyObject *
pn_cell_stream(CellObject *cell, PyObject *const *args, Py_ssize_t nargs)
{
    pn_sending call = {0};
    uint64_t window;
    if (cell == NULL)
        return pn_mailbox_unusable();
    pn_state *state = cell->mailbox->state;
    if (nargs != 5 && nargs != 6) {
        PyErr_SetString(PyExc_TypeError,
                        "takes (target, command, args: tuple, kwargs: dict, "
                        "window)");
        return NULL;
    }
    if (read_window(args[4], &window) < 0 ||
        pn_sending_begin(&call, cell, args) < 0)
        return NULL;
    PyTypeObject *type = (PyTypeObject *)state->stream_type;
    StreamObject *self = NULL;
    SinkObject *sink = pn_sink_new(cell, window);
    if (sink != NULL)
        self = (StreamObject *)type->tp_alloc(type, 0);
    call.window = window;
    if (sink != NULL && call.lent != NULL)
        sink->on_end = Py_NewRef(PyTuple_GET_ITEM(call.lent, 2));
    else if (sink != NULL && nargs == 6)
        sink->on_end = Py_NewRef(args[5]);
    if (self != NULL &&
        pn_mailbox_ask(cell->mailbox, &call, (PyObject *)sink) < 0)
        Py_CLEAR(self);
    if (self != NULL)
        self->sink = (SinkObject *)Py_NewRef((PyObject *)sink);
    Py_XDECREF((PyObject *)sink);
    pn_sending_end(&call);
    return (PyObject *)self;
}

PyObject *
pn_mailbox_stream(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return pn_cell_stream(((MailboxObject *)op)->main, args, nargs);
}
