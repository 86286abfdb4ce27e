#include "python/spinner.h"

#include "python/recorder.h"
#include "sys/clock.h"
#include "sys/spin.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/epoll.h>

/* Events of one look; the kernel gives the others their turn next time. */
#define EVENTS 64

/* As in the module selectors. */
enum { EVENT_READ = 1, EVENT_WRITE = 2 };

typedef struct {
    PyObject_HEAD Py_buffer page; /* holds the object whose memory is shared */
    pn_spin spin;
    PyObject *serve; /* called in select when `served` is ready, or NULL */
    int served;
    PyObject *stir;     /* called once, when a rest has ended; or NULL */
    PyObject *recorder; /* holds where to tell of turns, or NULL */
    pn_recorder_loop *loop;
    uint64_t node; /* whose that is, while it is */
} SpinnerObject;

static PyObject *
spinner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "page", "processors", "seconds", NULL};
    int fd, processors;
    double seconds;
    PyObject *page;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iOid:Spinner", names, &fd,
                                     &page, &processors, &seconds))
        return NULL;
    if (!(seconds >= 0 && seconds <= 0.01)) {
        PyErr_SetString(PyExc_ValueError, "seconds of spinning are 0 to 0.01");
        return NULL;
    }
    SpinnerObject *self = (SpinnerObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (PyObject_GetBuffer(page, &self->page, PyBUF_WRITABLE) < 0)
        goto fail;
    if ((size_t)self->page.len < sizeof(pn_spin_page)) {
        PyErr_Format(PyExc_ValueError, "a page has %zu bytes or more, not %zd",
                     sizeof(pn_spin_page), self->page.len);
        goto fail;
    }
    pn_spin_init(&self->spin, self->page.buf, fd, processors,
                 (int64_t)(seconds * 1e9));
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

static int
spinner_traverse(PyObject *op, visitproc visit, void *arg)
{
    SpinnerObject *self = (SpinnerObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->page.obj);
    Py_VISIT(self->serve);
    Py_VISIT(self->stir);
    Py_VISIT(self->recorder);
    return 0;
}

static int
spinner_clear(PyObject *op)
{
    SpinnerObject *self = (SpinnerObject *)op;
    Py_CLEAR(self->serve);
    Py_CLEAR(self->stir);
    self->loop = NULL;
    Py_CLEAR(self->recorder);
    return 0;
}

static void
spinner_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)spinner_clear(op);
    PyBuffer_Release(&((SpinnerObject *)op)->page);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- waiting --- */

/* Nanoseconds of a timeout, -1 for None. 0, or -1 with an exception. */
static int
read_timeout(PyObject *timeout, int64_t *out)
{
    *out = -1;
    if (timeout == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds > 0))
        *out = 0;
    else if (seconds < INT_MAX / 1000)
        *out = (int64_t)(seconds * 1e9);
    return 0;
}

/* Wait at most so long; epoll's milliseconds are rounded up. */
static int
wait_for_events(pn_spin *spin, struct epoll_event *events, int64_t ns)
{
    if (ns == 0 || pn_spin_wait(spin, ns))
        return epoll_wait(spin->fd, events, EVENTS, 0);
    int ms = ns < 0 ? -1 : (int)((ns + 999999) / 1000000);
    int count = epoll_wait(spin->fd, events, EVENTS, ms);
    pn_spin_woke(spin);
    return count;
}

bool
pn_spinner_spin(PyObject *op)
{
    SpinnerObject *self = (SpinnerObject *)op;
    bool ready;
    Py_BEGIN_ALLOW_THREADS
    ready = pn_spin_wait(&self->spin, -1);
    Py_END_ALLOW_THREADS
    return ready;
}

void
pn_spinner_woke(PyObject *op)
{
    pn_spin_woke(&((SpinnerObject *)op)->spin);
}

/* What select gives for an event: (key, events), or nothing for a descriptor
 * that has no key. 0, or -1 with an exception. */
static int
add_ready(PyObject *list, PyObject *keys, const struct epoll_event *event)
{
    long bits = (event->events & ~(uint32_t)EPOLLOUT ? EVENT_READ : 0) |
                (event->events & ~(uint32_t)EPOLLIN ? EVENT_WRITE : 0);
    PyObject *number = PyLong_FromLong(event->data.fd);
    if (number == NULL)
        return -1;
    PyObject *key = PyDict_GetItemWithError(keys, number);
    Py_DECREF(number);
    if (key == NULL)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *wanted = PySequence_GetItem(key, 2); /* SelectorKey.events */
    bits &= wanted == NULL ? 0 : PyLong_AsLong(wanted);
    Py_XDECREF(wanted);
    if (PyErr_Occurred())
        return -1;
    PyObject *pair = Py_BuildValue("(Ol)", key, bits);
    int err = pair == NULL ? -1 : PyList_Append(list, pair);
    Py_XDECREF(pair);
    return err;
}

static PyObject *
list_ready(SpinnerObject *self, PyObject *keys, struct epoll_event *events,
           int count)
{
    bool serve = false;
    PyObject *list = PyList_New(0);
    int err = list == NULL ? -1 : 0;
    for (int i = 0; i < count && err == 0; i++) {
        if (self->serve != NULL && events[i].data.fd == self->served)
            serve = true;
        else
            err = add_ready(list, keys, &events[i]);
    }
    if (err == 0 && serve) {
        PyObject *call = Py_NewRef(self->serve);
        PyObject *done = PyObject_CallNoArgs(call);
        Py_DECREF(call);
        Py_XDECREF(done);
        err = done == NULL ? -1 : 0;
    }
    if (err < 0)
        Py_CLEAR(list);
    return list;
}

/* Whether its turns are written; its node may have left meanwhile. */
static bool
tells(const SpinnerObject *self)
{
    return self->loop != NULL && self->loop->node == self->node;
}

/* The loop rests no more. Gives the list, or NULL with an exception. */
static PyObject *
end_rest(SpinnerObject *self, PyObject *list)
{
    PyObject *call = self->stir;
    self->stir = NULL;
    PyObject *done = PyObject_CallNoArgs(call);
    Py_DECREF(call);
    if (done == NULL)
        Py_CLEAR(list);
    Py_XDECREF(done);
    return list;
}

/* Sleep, and have the page tell of it. It tells that the loop is awake before
 * the GIL is waited for: who does not get it is not asleep. */
static int
sleep_until_events(SpinnerObject *self, struct epoll_event *events, int64_t ns)
{
    int count;
    pn_recorder_loop *loop = tells(self) ? self->loop : NULL;
    if (loop != NULL)
        pn_recorder_sleep(loop);
    Py_BEGIN_ALLOW_THREADS
    count = wait_for_events(&self->spin, events, ns);
    if (loop != NULL)
        pn_recorder_beat(loop, pn_clock_now());
    Py_END_ALLOW_THREADS
    return count;
}

static PyObject *
spinner_select(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    SpinnerObject *self = (SpinnerObject *)op;
    struct epoll_event events[EVENTS];
    int64_t ns;
    int count;
    if (nargs != 2 || !PyDict_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "takes (timeout, keys: dict)");
        return NULL;
    }
    if (read_timeout(args[0], &ns) < 0)
        return NULL;
    count = sleep_until_events(self, events, ns);
    if (count < 0 && errno != EINTR)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (count < 0 && PyErr_CheckSignals() < 0)
        return NULL;
    PyObject *list = list_ready(self, args[1], events, count);
    bool woke = ns != 0 || count > 0;
    return list != NULL && woke && self->stir != NULL ? end_rest(self, list)
                                                      : list;
}

static PyObject *
spinner_serve(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    SpinnerObject *self = (SpinnerObject *)op;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "takes (fd, call)");
        return NULL;
    }
    int fd = (int)PyLong_AsLong(args[0]);
    if (PyErr_Occurred())
        return NULL;
    self->served = fd;
    Py_XSETREF(self->serve, args[1] == Py_None ? NULL : Py_NewRef(args[1]));
    Py_RETURN_NONE;
}

static PyObject *
spinner_rest(PyObject *op, PyObject *call)
{
    SpinnerObject *self = (SpinnerObject *)op;
    if (!tells(self))
        Py_RETURN_FALSE;
    Py_XSETREF(self->stir, Py_NewRef(call));
    Py_RETURN_TRUE;
}

static PyObject *
spinner_record(PyObject *op, PyObject *args)
{
    SpinnerObject *self = (SpinnerObject *)op;
    PyObject *recorder;
    unsigned long long node;
    pn_state *state = pn_state_of(Py_TYPE(op));
    if (state == NULL ||
        !PyArg_ParseTuple(args, "OK:record", &recorder, &node))
        return NULL;
    bool none = recorder == Py_None;
    pn_recorder *found = none ? NULL : pn_recorder_of(state, recorder);
    if (found == NULL && !none)
        return NULL;
    self->loop = none || node == 0 ? NULL : pn_recorder_find(found, node);
    self->node = node;
    Py_XSETREF(self->recorder, none ? NULL : Py_NewRef(recorder));
    Py_RETURN_NONE;
}

static PyMethodDef spinner_methods[] = {
    {"select", (PyCFunction)(void (*)(void))spinner_select, METH_FASTCALL,
     PyDoc_STR("select($self, timeout, keys, /)\n--\n\n"
               "As a selector's: wait timeout seconds (None: for ever) and "
               "give a list of (key, events); keys is a dict, descriptor to "
               "key. What served descriptors have is handled meanwhile.")},
    {"serve", (PyCFunction)(void (*)(void))spinner_serve, METH_FASTCALL,
     PyDoc_STR("serve($self, fd, call, /)\n--\n\n"
               "Have select call call() when fd is ready, and not list it; "
               "None for call: list it again.")},
    {"record", spinner_record, METH_VARARGS,
     PyDoc_STR("record($self, recorder, node, /)\n--\n\n"
               "Write into this Recorder when the node's loop sleeps and "
               "wakes; None for it: no more.")},
    {"rest", spinner_rest, METH_O,
     PyDoc_STR("rest($self, call, /)\n--\n\n"
               "Have select call call(), once, after it has slept or found "
               "something. False, and no call, unless a Recorder tells of "
               "that sleep.")},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(spinner_doc,
             "Spinner(fd, page, processors, seconds)\n--\n\n"
             "Waits for the events of the epoll descriptor fd, whose data are "
             "descriptors, as select.epoll fills it in; looks at it for some "
             "microseconds before it sleeps.\n\n"
             "page is a writable buffer of zeros, shared by all processes "
             "that count their spinners together; seconds is the longest "
             "attempt.");

static PyType_Slot spinner_slots[] = {
    {Py_tp_doc, (void *)spinner_doc},
    {Py_tp_new, spinner_new},
    {Py_tp_methods, spinner_methods},
    {Py_tp_traverse, spinner_traverse},
    {Py_tp_clear, spinner_clear},
    {Py_tp_dealloc, spinner_dealloc},
    {0, NULL},
};

static PyType_Spec spinner_spec = {
    .name = "pulsar_native._native.Spinner",
    .basicsize = sizeof(SpinnerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = spinner_slots,
};

int
pn_add_spinner(PyObject *module, pn_state *state)
{
    state->spinner_type =
        PyType_FromModuleAndSpec(module, &spinner_spec, NULL);
    if (state->spinner_type == NULL)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->spinner_type);
}
