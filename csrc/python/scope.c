#include "python/scope.h"

#include "sys/clock.h"

#include <math.h>

typedef struct {
    PyObject_HEAD PyObject *request; /* of the scope around it, or NULL */
    int64_t deadline;
    char kill;
} ScopeObject;

static int
scope_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((ScopeObject *)op)->request);
    return 0;
}

static int
scope_clear(PyObject *op)
{
    Py_CLEAR(((ScopeObject *)op)->request);
    return 0;
}

static void
scope_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)scope_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

int
pn_scope_read(pn_state *state, pn_scope *out)
{
    *out = (pn_scope){0};
    PyObject *value;
    if (PyContextVar_Get(state->scope, NULL, &value) < 0)
        return -1;
    if (value == NULL || value == Py_None) {
        Py_XDECREF(value);
        return 0;
    }
    out->held = value;
    if (Py_TYPE(value) == (PyTypeObject *)state->request_type) {
        out->request = (RequestObject *)value;
        out->deadline = out->request->deadline;
    } else if (Py_TYPE(value) == (PyTypeObject *)state->scope_type) {
        out->request = (RequestObject *)((ScopeObject *)value)->request;
        out->deadline = ((ScopeObject *)value)->deadline;
        out->kill = ((ScopeObject *)value)->kill;
        out->chosen = true;
    }
    return 0;
}

/* Longer than any program runs; far from where an int64_t ends. */
#define SECONDS_LIMIT 3e9

static int
deadline_after(PyObject *seconds, int64_t *out)
{
    double value = PyFloat_AsDouble(seconds);
    if (value == -1.0 && PyErr_Occurred())
        return -1;
    if (isnan(value)) {
        PyErr_SetString(PyExc_ValueError, "a deadline is seconds, not nan");
        return -1;
    }
    value = value < 0 ? 0 : value < SECONDS_LIMIT ? value : SECONDS_LIMIT;
    *out = pn_clock_now() + (int64_t)(value * 1e9);
    return 0;
}

static PyObject *
scope_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"seconds", "kill", NULL};
    PyObject *seconds;
    int kill = 0;
    int64_t deadline = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:Scope", names,
                                     &seconds, &kill) ||
        (seconds != Py_None && deadline_after(seconds, &deadline) < 0))
        return NULL;
    pn_state *state = pn_state_of(type);
    pn_scope outer;
    if (state == NULL || pn_scope_read(state, &outer) < 0)
        return NULL;
    ScopeObject *self = (ScopeObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->request = Py_XNewRef((PyObject *)outer.request);
        self->deadline = deadline;
        self->kill = kill != 0;
        if (outer.deadline != 0 &&
            (deadline == 0 || outer.deadline < deadline))
            self->deadline = outer.deadline;
    }
    Py_XDECREF(outer.held);
    return (PyObject *)self;
}

static PyObject *
current_request(PyObject *module, PyObject *unused)
{
    (void)unused;
    pn_state *state = PyModule_GetState(module);
    pn_scope scope;
    if (pn_scope_read(state, &scope) < 0)
        return NULL;
    PyObject *request = (PyObject *)scope.request;
    request = Py_NewRef(request == NULL ? Py_None : request);
    Py_XDECREF(scope.held);
    return request;
}

static PyObject *
scope_get_deadline(PyObject *op, void *closure)
{
    (void)closure;
    int64_t deadline = ((ScopeObject *)op)->deadline;
    if (deadline == 0)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)deadline / 1e9);
}

static PyGetSetDef scope_getset[] = {
    {"deadline", scope_get_deadline, NULL,
     "When it is, in seconds of time.monotonic(), or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    scope_doc,
    "Scope(seconds, kill=False)\n--\n\n"
    "A deadline so many seconds from now, or that of the scope around "
    "it if that is earlier; None sets none. With kill, a plain function that "
    "is past it costs its process.");

static PyType_Slot scope_slots[] = {
    {Py_tp_doc, (void *)scope_doc},
    {Py_tp_new, scope_new},
    {Py_tp_traverse, scope_traverse},
    {Py_tp_clear, scope_clear},
    {Py_tp_dealloc, scope_dealloc},
    {Py_tp_getset, scope_getset},
    {0, NULL},
};

static PyType_Spec scope_spec = {
    .name = "pulsar_native._native.Scope",
    .basicsize = sizeof(ScopeObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = scope_slots,
};

/* Both are callables, or None. */
static PyObject *
set_baggage(PyObject *module, PyObject *args)
{
    pn_state *state = PyModule_GetState(module);
    PyObject *dump, *load;
    if (!PyArg_ParseTuple(args, "OO:set_baggage", &dump, &load))
        return NULL;
    Py_XSETREF(state->dump_baggage, dump == Py_None ? NULL : Py_NewRef(dump));
    Py_XSETREF(state->load_baggage, load == Py_None ? NULL : Py_NewRef(load));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"set_baggage", set_baggage, METH_VARARGS,
     PyDoc_STR("set_baggage($module, dump, load, /)\n--\n\n"
               "What packs the context variables that travel with each "
               "message, and what sets them where its command runs; None: "
               "nothing travels, nothing is set.")},
    {"current_request", current_request, METH_NOARGS,
     PyDoc_STR("current_request($module, /)\n--\n\n"
               "The Request of the command that runs here, or None.")},
    {NULL, NULL, 0, NULL},
};

int
pn_add_scope(PyObject *module, pn_state *state)
{
    state->scope = PyContextVar_New("pulsar_native.scope", Py_None);
    state->scope_type = PyType_FromModuleAndSpec(module, &scope_spec, NULL);
    if (state->scope == NULL || state->scope_type == NULL ||
        PyModule_AddFunctions(module, functions) < 0 ||
        PyModule_AddObjectRef(module, "scope", state->scope) < 0)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->scope_type);
}
