#include "python/handle.h"

#include "python/future.h"

#include <stddef.h>
#include <structmember.h>

static int
handle_traverse(PyObject *op, visitproc visit, void *arg)
{
    pn_handle *self = (pn_handle *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->args);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    Py_VISIT(self->loop);
    Py_VISIT(self->repr);
    Py_VISIT(self->source_traceback);
    return 0;
}

static int
handle_clear(PyObject *op)
{
    pn_handle *self = (pn_handle *)op;
    Py_CLEAR(self->args);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->repr);
    Py_CLEAR(self->source_traceback);
    return 0;
}

/* All of it is done here: the base is a Python class, whose own deallocation
 * would call this one again. The memory goes to the loop, if that has room. */
static void
free_into(PyObject *op, bool timer)
{
    PyTypeObject *type = Py_TYPE(op);
    pn_handle *self = (pn_handle *)op;
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    PyObject *loop = Py_XNewRef(self->loop);
    (void)handle_clear(op);
    Py_CLEAR(self->cancelled);
    LoopObject *owner = pn_loop_of(loop);
    pn_spares *spares = owner == NULL ? NULL : &owner->spares[timer];
    if (spares != NULL && spares->count < PN_LOOP_SPARES)
        spares->handles[spares->count++] = op;
    else
        type->tp_free(op);
    Py_DECREF(type);
    Py_XDECREF(loop); /* may free the spares */
}

static void
handle_free(PyObject *op)
{
    free_into(op, false);
}

void
pn_handle_free_spares(LoopObject *loop)
{
    for (int timer = 0; timer < 2; timer++) {
        pn_spares *spares = &loop->spares[timer];
        while (spares->count > 0)
            PyObject_GC_Del(spares->handles[--spares->count]);
    }
}

/* Memory for a handle of loop: a reference to something not filled in. */
static pn_handle *
allocate(pn_state *state, PyObject *loop, bool timer)
{
    PyObject *type = timer ? state->timer_type : state->handle_type;
    LoopObject *owner = pn_loop_of(loop);
    if (owner == NULL || owner->spares[timer].count == 0)
        return PyObject_GC_New(pn_handle, (PyTypeObject *)type);
    pn_spares *spares = &owner->spares[timer];
    return (pn_handle *)PyObject_Init(spares->handles[--spares->count],
                                      (PyTypeObject *)type);
}

static int
timer_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(((pn_timer_handle *)op)->when);
    return handle_traverse(op, visit, arg);
}

static int
timer_clear(PyObject *op)
{
    Py_CLEAR(((pn_timer_handle *)op)->when);
    return handle_clear(op);
}

static void
timer_free(PyObject *op)
{
    pn_timer_handle *self = (pn_timer_handle *)op;
    PyObject_GC_UnTrack(op);
    Py_CLEAR(self->when);
    Py_CLEAR(self->scheduled);
    free_into(op, true);
}

/* Fill in all of a new object but what only timers have; context is taken
 * over, as is args. */
static void
fill(pn_handle *self, PyObject *loop, PyObject *callback, PyObject *args,
     PyObject *context)
{
    self->args = args;
    self->callback = Py_NewRef(callback);
    self->cancelled = Py_NewRef(Py_False);
    self->context = context;
    self->loop = Py_NewRef(loop);
    self->repr = Py_NewRef(Py_None);
    self->source_traceback = Py_NewRef(Py_None);
#if PY_VERSION_HEX < 0x030c0000
    self->weakrefs = NULL;
#endif
}

PyObject *
pn_handle_new(pn_state *state, PyObject *loop, PyObject *callback,
              PyObject *args, PyObject *context, PyObject *when)
{
    pn_handle *self = NULL;
    context = context == NULL ? PyContext_CopyCurrent() : Py_NewRef(context);
    if (context != NULL)
        self = allocate(state, loop, when != NULL);
    if (self == NULL) {
        Py_XDECREF(context);
        Py_DECREF(args);
        return NULL;
    }
    fill(self, loop, callback, args, context);
    if (when != NULL) {
        ((pn_timer_handle *)self)->when = Py_NewRef(when);
        ((pn_timer_handle *)self)->scheduled = Py_NewRef(Py_False);
    }
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* --- running --- */

static PyObject *
call_with(PyObject *callback, PyObject *args)
{
    if (args != NULL && PyTuple_CheckExact(args))
        return PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0),
                                   (size_t)PyTuple_GET_SIZE(args), NULL);
    /* Somebody has put something else there. */
    PyObject *tuple = PySequence_Tuple(args == NULL ? Py_None : args);
    PyObject *result =
        tuple == NULL ? NULL : PyObject_Call(callback, tuple, NULL);
    Py_XDECREF(tuple);
    return result;
}

static PyObject *
call_in(PyObject *context, PyObject *callback, PyObject *args)
{
    if (PyContext_Enter(context) < 0)
        return NULL;
    PyObject *result = call_with(callback, args);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    return result;
}

/* Tell the loop's exception handler. 0, or -1 with an exception. */
static int
report(pn_state *state, PyObject *handle)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    PyObject *error = pn_take_exception();
    PyObject *args[] = {handle, error};
    PyObject *done = PyObject_Vectorcall(state->report_error, args, 2, NULL);
    Py_XDECREF(error);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
pn_handle_run(pn_state *state, PyObject *op)
{
    pn_handle *self = (pn_handle *)op;
    /* Cancelling meanwhile drops the handle's own references. */
    PyObject *callback = Py_XNewRef(self->callback);
    PyObject *context = Py_XNewRef(self->context);
    PyObject *args = Py_XNewRef(self->args);
    PyObject *result = NULL;
    if (callback == NULL || context == NULL)
        PyErr_SetString(PyExc_AttributeError, "the handle is incomplete");
    else
        result = call_in(context, callback, args);
    int err = result == NULL ? report(state, op) : 0;
    Py_XDECREF(result);
    Py_XDECREF(args);
    Py_XDECREF(context);
    Py_XDECREF(callback);
    return err;
}

int
pn_handle_cancel(PyObject *op)
{
    pn_handle *self = (pn_handle *)op;
    if (self->cancelled == Py_True)
        return 0;
    Py_XSETREF(self->cancelled, Py_NewRef(Py_True));
    int debug = pn_loop_is_debugged(self->loop);
    if (debug < 0)
        return -1;
    if (debug > 0) {
        PyObject *repr = PyObject_Repr(op);
        if (repr == NULL)
            return -1;
        Py_XSETREF(self->repr, repr);
    }
    Py_XSETREF(self->callback, Py_NewRef(Py_None));
    Py_XSETREF(self->args, Py_NewRef(Py_None));
    return 0;
}

/* --- methods --- */

static PyObject *
handle_run(PyObject *op, PyObject *Py_UNUSED(unused))
{
    pn_state *state = pn_state_of(Py_TYPE(op));
    if (state == NULL || pn_handle_run(state, op) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
handle_cancel(PyObject *op, PyObject *Py_UNUSED(unused))
{
    if (pn_handle_cancel(op) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
timer_cancel(PyObject *op, PyObject *Py_UNUSED(unused))
{
    pn_timer_handle *self = (pn_timer_handle *)op;
    LoopObject *loop = pn_loop_of(self->handle.loop);
    if (loop != NULL && !pn_handle_is_cancelled(op) &&
        self->scheduled == Py_True)
        loop->timers.cancelled++;
    return handle_cancel(op, NULL);
}

static PyObject *
handle_cancelled(PyObject *op, PyObject *Py_UNUSED(unused))
{
    pn_handle *self = (pn_handle *)op;
    return Py_NewRef(self->cancelled == NULL ? Py_False : self->cancelled);
}

static PyObject *
handle_get_context(PyObject *op, PyObject *Py_UNUSED(unused))
{
    pn_handle *self = (pn_handle *)op;
    return Py_NewRef(self->context == NULL ? Py_None : self->context);
}

#define HANDLE_METHODS                                                        \
    {"_run", handle_run, METH_NOARGS,                                         \
     PyDoc_STR("_run($self, /)\n--\n\nCall it, in its context.")},            \
        {"cancelled", handle_cancelled, METH_NOARGS,                          \
         PyDoc_STR("cancelled($self, /)\n--\n\nWhether it was cancelled.")},  \
        {"get_context", handle_get_context, METH_NOARGS,                      \
         PyDoc_STR("get_context($self, /)\n--\n\n"                            \
                   "The context in which it is called.")},                    \
    {                                                                         \
        NULL, NULL, 0, NULL                                                   \
    }

static PyMethodDef handle_methods[] = {
    {"cancel", handle_cancel, METH_NOARGS,
     PyDoc_STR("cancel($self, /)\n--\n\nNever call it.")},
    HANDLE_METHODS,
};

static PyMethodDef timer_methods[] = {
    {"cancel", timer_cancel, METH_NOARGS,
     PyDoc_STR("cancel($self, /)\n--\n\nNever call it.")},
    HANDLE_METHODS,
};

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What call_soon gives: asyncio.Handle.")},
    {Py_tp_methods, handle_methods},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_dealloc, handle_free},
    {0, NULL},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_doc,
     (void *)PyDoc_STR("What call_later gives: asyncio.TimerHandle.")},
    {Py_tp_methods, timer_methods},
    {Py_tp_traverse, timer_traverse},
    {Py_tp_clear, timer_clear},
    {Py_tp_dealloc, timer_free},
    {0, NULL},
};

static PyType_Spec handle_spec = {
    .name = "pulsar_native._native.Handle",
    .basicsize = sizeof(pn_handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = handle_slots,
};

static PyType_Spec timer_spec = {
    .name = "pulsar_native._native.TimerHandle",
    .basicsize = sizeof(pn_timer_handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = timer_slots,
};

/* --- the layout of asyncio's classes --- */

typedef struct {
    const char *name;
    size_t offset;
} slot_place;

static const slot_place handle_places[] = {
    {"_args", offsetof(pn_handle, args)},
    {"_callback", offsetof(pn_handle, callback)},
    {"_cancelled", offsetof(pn_handle, cancelled)},
    {"_context", offsetof(pn_handle, context)},
    {"_loop", offsetof(pn_handle, loop)},
    {"_repr", offsetof(pn_handle, repr)},
    {"_source_traceback", offsetof(pn_handle, source_traceback)},
    {NULL, 0},
};

static const slot_place timer_places[] = {
    {"_scheduled", offsetof(pn_timer_handle, scheduled)},
    {"_when", offsetof(pn_timer_handle, when)},
    {NULL, 0},
};

#if PY_VERSION_HEX < 0x030c0000
#define WEAKREFS offsetof(pn_handle, weakrefs)
#else
#define WEAKREFS (-4 * (Py_ssize_t)sizeof(PyObject *))
#endif

static int
check_layout(PyObject *base, const slot_place *places, size_t size)
{
    PyTypeObject *type = (PyTypeObject *)base;
    bool right =
        PyType_Check(base) && type->tp_basicsize == (Py_ssize_t)size &&
        type->tp_weaklistoffset == WEAKREFS && type->tp_dictoffset == 0;
    for (; right && places->name != NULL; places++) {
        PyObject *slot = PyObject_GetAttrString(base, places->name);
        right = slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type) &&
                ((PyMemberDescrObject *)slot)->d_member->offset ==
                    (Py_ssize_t)places->offset;
        Py_XDECREF(slot);
    }
    if (right)
        return 0;
    PyErr_Clear();
    PyErr_Format(PyExc_ImportError, "%R is laid out in a way not known", base);
    return -1;
}

static PyObject *
add_over(PyObject *module, PyType_Spec *spec, PyObject *base,
         const slot_place *places)
{
    if (check_layout(base, places, (size_t)spec->basicsize) < 0)
        return NULL;
    PyObject *type = PyType_FromModuleAndSpec(module, spec, base);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0)
        Py_CLEAR(type);
    return type;
}

int
pn_add_handle(PyObject *module, pn_state *state)
{
    state->handle_type =
        add_over(module, &handle_spec, state->asyncio_handle, handle_places);
    if (state->handle_type == NULL)
        return -1;
    state->timer_type =
        add_over(module, &timer_spec, state->asyncio_timer, timer_places);
    return state->timer_type == NULL ? -1 : 0;
}
