#include "python/spinner.h"

#include "sys/spin.h"

#include <stdbool.h>

typedef struct {
    PyObject_HEAD Py_buffer page; /* holds the object whose memory is shared */
    pn_spin spin;
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
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((SpinnerObject *)op)->page.obj);
    return 0;
}

static void
spinner_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    PyBuffer_Release(&((SpinnerObject *)op)->page);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
spinner_wait(PyObject *op, PyObject *timeout)
{
    SpinnerObject *self = (SpinnerObject *)op;
    int64_t ns = -1;
    bool ready;
    if (timeout != Py_None) {
        double seconds = PyFloat_AsDouble(timeout);
        if (PyErr_Occurred())
            return NULL;
        ns = seconds > 1 ? 1000000000 : (int64_t)(seconds * 1e9);
        if (ns <= 0)
            Py_RETURN_FALSE;
    }
    Py_BEGIN_ALLOW_THREADS
    ready = pn_spin_wait(&self->spin, ns);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(ready);
}

static PyObject *
spinner_woke(PyObject *op, PyObject *unused)
{
    (void)unused;
    pn_spin_woke(&((SpinnerObject *)op)->spin);
    Py_RETURN_NONE;
}

static PyMethodDef spinner_methods[] = {
    {"wait", spinner_wait, METH_O,
     PyDoc_STR("wait($self, timeout, /)\n--\n\n"
               "Before a wait of timeout seconds (None: for ever): whether "
               "something is ready now, so that waiting is needless.")},
    {"woke", spinner_woke, METH_NOARGS,
     PyDoc_STR("woke($self, /)\n--\n\nAfter the wait that followed a False.")},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(spinner_doc,
             "Spinner(fd, page, processors, seconds)\n--\n\n"
             "Looks at the epoll descriptor fd for some microseconds before "
             "its loop sleeps.\n\n"
             "page is a writable buffer of zeros, shared by all processes "
             "that count their spinners together; seconds is the longest "
             "attempt.");

static PyType_Slot spinner_slots[] = {
    {Py_tp_doc, (void *)spinner_doc}, {Py_tp_new, spinner_new},
    {Py_tp_methods, spinner_methods}, {Py_tp_traverse, spinner_traverse},
    {Py_tp_dealloc, spinner_dealloc}, {0, NULL},
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
