#include "python/forkchannel.h"

#include "base/status.h"
#include "python/error.h"
#include "sys/forkclient.h"

#include <limits.h>
#include <stdbool.h>
#include <unistd.h>

/* Holds no Python object, so the collector need not know of it. */
typedef struct {
    PyObject_HEAD pn_forkclient client;
} ForkChannelObject;

static PyObject *
forkchannel_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", NULL};
    int fd;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i:ForkChannel", names,
                                     &fd))
        return NULL;
    if (fd < 0) {
        PyErr_SetString(PyExc_ValueError, "fd must not be negative");
        return NULL;
    }
    ForkChannelObject *self = (ForkChannelObject *)type->tp_alloc(type, 0);
    if (self != NULL)
        pn_forkclient_init(&self->client, fd);
    return (PyObject *)self;
}

static void
forkchannel_dealloc(PyObject *op)
{
    PyTypeObject *tp = Py_TYPE(op);
    pn_forkclient_close(&((ForkChannelObject *)op)->client);
    tp->tp_free(op);
    Py_DECREF(tp); /* every instance owns its heap type */
}

PyDoc_STRVAR(fileno_doc,
             "fileno($self, /)\n--\n\n"
             "The channel's descriptor, or -1 once it is closed. It is\n"
             "readable when receive() has something to give out.");

static PyObject *
forkchannel_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(((ForkChannelObject *)op)->client.fd);
}

/* fd[PN_FORK_FDS] out of a sequence of ints; -1 for one that is not given. */
static int
parse_fds(PyObject *sequence, int *fd)
{
    PyObject *fast = PySequence_Fast(sequence, "fds must be a sequence");
    if (fast == NULL)
        return -1;
    Py_ssize_t count = PySequence_Size(fast);
    bool right = count == PN_FORK_RECORDER || count == PN_FORK_FDS;
    fd[PN_FORK_RECORDER] = -1;
    for (Py_ssize_t i = 0; right && i < count; i++) {
        PyObject *item = PySequence_GetItem(fast, i);
        if (item == NULL)
            goto fail;
        long value = PyLong_AsLong(item);
        Py_DECREF(item);
        if (value == -1 && PyErr_Occurred())
            goto fail;
        right = value >= -1 && value <= INT_MAX;
        fd[i] = right ? (int)value : -1;
    }
    Py_DECREF(fast);
    if (right && fd[PN_FORK_LINK] >= 0)
        return 0;
    PyErr_SetString(PyExc_ValueError,
                    "fds must be (link, stdin, stdout, stderr) or these and "
                    "a recorder, each a descriptor or, the link excepted, "
                    "-1");
    return -1;

fail:
    Py_DECREF(fast);
    return -1;
}

PyDoc_STRVAR(spawn_doc,
             "spawn($self, token, fds, /)\n--\n\n"
             "Ask the fork server for a child, without blocking.\n\n"
             "*token* (0 to 2**64 - 1) names it in reports. *fds* is (link,\n"
             "stdin, stdout, stderr), perhaps with a recorder behind; -1\n"
             "stands for /dev/null as stdin, for the server's own stdout and\n"
             "stderr, and for no recorder. The descriptors are copied: the\n"
             "caller may close its own at once. Where the socket is full the\n"
             "request waits and leaves in a later receive().\n\n"
             "Raises BrokenPipeError if the server is gone, OSError for a\n"
             "bad descriptor, PulsarException after close().");

static PyObject *
forkchannel_spawn(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    ForkChannelObject *self = (ForkChannelObject *)op;
    int fd[PN_FORK_FDS];
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "spawn() takes 2 arguments, got %zd",
                     nargs);
        return NULL;
    }
    uint64_t token = PyLong_AsUnsignedLongLong(args[0]);
    if (token == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    if (parse_fds(args[1], fd) < 0)
        return NULL;
    int err = pn_forkclient_spawn(&self->client, token, fd);
    if (err < 0) {
        pn_state *state = pn_state_of(Py_TYPE(op));
        return state == NULL ? NULL : pn_raise_status(state, err);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(reserve_doc,
             "reserve($self, count, /)\n--\n\n"
             "Have the server keep *count* children forked ahead, whenever\n"
             "nobody spawns; the greatest number of all channels counts.\n\n"
             "Raises as spawn() does.");

static PyObject *
forkchannel_reserve(PyObject *op, PyObject *arg)
{
    ForkChannelObject *self = (ForkChannelObject *)op;
    uint64_t count = PyLong_AsUnsignedLongLong(arg);
    if (count == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    int err = pn_forkclient_reserve(&self->client, count);
    if (err < 0) {
        pn_state *state = pn_state_of(Py_TYPE(op));
        return state == NULL ? NULL : pn_raise_status(state, err);
    }
    Py_RETURN_NONE;
}

/* The tuple of a report, or NULL. On NULL pidfd is still the caller's. */
static PyObject *
convert(const pn_fork_report *r, int pidfd)
{
    unsigned long long token = r->token;
    switch (r->kind) {
    case PN_FORK_STARTED:
        return Py_BuildValue("(sKii)", "started", token, (int)r->pid, pidfd);
    case PN_FORK_FAILED:
        return Py_BuildValue("(sKi)", "failed", token, (int)r->error);
    case PN_FORK_EXITED:
        return Py_BuildValue(
            "(sKiiiNKKK)", "exited", token, (int)r->pid, (int)r->code,
            (int)r->signal, PyBool_FromLong(r->core),
            (unsigned long long)r->utime, (unsigned long long)r->stime,
            (unsigned long long)r->max_rss);
    default:
        PyErr_SetString(PyExc_SystemError, "unknown report");
        return NULL;
    }
}

static int
append(PyObject *list, const pn_fork_report *report, int pidfd)
{
    PyObject *item = convert(report, pidfd);
    int err = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    if (err < 0 && pidfd >= 0)
        close(pidfd);
    return err;
}

static PyObject *
server_died(PyObject *op, int err)
{
    if (err == PN_ECLOSED) {
        PyErr_SetString(PyExc_EOFError, "the fork server is gone");
        return NULL;
    }
    pn_state *state = pn_state_of(Py_TYPE(op));
    return state == NULL ? NULL : pn_raise_status(state, err);
}

PyDoc_STRVAR(receive_doc,
             "receive($self, /)\n--\n\n"
             "All reports that are there, oldest first, without blocking:\n\n"
             "  ('started', token, pid, pidfd)\n"
             "  ('failed', token, errno)\n"
             "  ('exited', token, pid, code, signal, core, utime, stime,\n"
             "   max_rss)\n\n"
             "The pidfd is the caller's to close, -1 where the system has\n"
             "none. code is 0 if a signal ended the child, signal 0 if none\n"
             "did, core a bool, times are microseconds, max_rss bytes.\n\n"
             "Raises EOFError when the server is gone and everything was\n"
             "given out, or the channel is closed.");

static PyObject *
forkchannel_receive(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ForkChannelObject *self = (ForkChannelObject *)op;
    PyObject *reports = PyList_New(0);
    if (reports == NULL)
        return NULL;
    for (;;) {
        pn_fork_report report;
        int pidfd;
        int err = pn_forkclient_receive(&self->client, &report, &pidfd);
        if (err == PN_MORE || (err < 0 && PyList_Size(reports) > 0))
            return reports; /* a failure shows again in the next call */
        if (err < 0) {
            Py_DECREF(reports);
            return server_died(op, err);
        }
        if (append(reports, &report, pidfd) < 0) {
            Py_DECREF(reports);
            return NULL;
        }
    }
}

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Close the channel: its living children have 0.8 s to end by\n"
             "themselves and are killed then. Harmless when repeated.");

static PyObject *
forkchannel_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    pn_forkclient_close(&((ForkChannelObject *)op)->client);
    Py_RETURN_NONE;
}

static PyMethodDef forkchannel_methods[] = {
    {"fileno", forkchannel_fileno, METH_NOARGS, fileno_doc},
    {"spawn", (PyCFunction)(void (*)(void))forkchannel_spawn, METH_FASTCALL,
     spawn_doc},
    {"reserve", forkchannel_reserve, METH_O, reserve_doc},
    {"receive", forkchannel_receive, METH_NOARGS, receive_doc},
    {"close", forkchannel_close, METH_NOARGS, close_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(forkchannel_doc,
             "ForkChannel(fd)\n--\n\n"
             "An arbiter's channel to the fork server. Takes over *fd*, a\n"
             "Unix socket of type SOCK_SEQPACKET. To be used by one thread.");

static PyType_Slot forkchannel_slots[] = {
    {Py_tp_doc, (void *)forkchannel_doc},
    {Py_tp_new, forkchannel_new},
    {Py_tp_dealloc, forkchannel_dealloc},
    {Py_tp_methods, forkchannel_methods},
    {0, NULL},
};

static PyType_Spec forkchannel_spec = {
    .name = "pulsar_native._native.ForkChannel",
    .basicsize = sizeof(ForkChannelObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = forkchannel_slots,
};

int
pn_add_forkchannel(PyObject *module, pn_state *state)
{
    state->forkchannel_type =
        PyType_FromModuleAndSpec(module, &forkchannel_spec, NULL);
    if (state->forkchannel_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "ForkChannel",
                                 state->forkchannel_type);
}
