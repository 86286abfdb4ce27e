#include "python/loop.h"

#include "python/error.h"
#include "python/handle.h"

#include <stddef.h>
#include <structmember.h>

static PyObject *
loop_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
         PyObject *Py_UNUSED(kwargs))
{
    pn_state *state = pn_state_of(type);
    if (state == NULL)
        return NULL;
    LoopObject *self = (LoopObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->state = state;
    self->own_time = true;
    self->thread_id = Py_NewRef(Py_None);
    self->current_handle = Py_NewRef(Py_None);
    int err = pn_watches_init(&self->watches);
    if (err < 0) {
        Py_DECREF(self);
        return pn_raise_status(state, err);
    }
    return (PyObject *)self;
}

static int
loop_traverse(PyObject *op, visitproc visit, void *arg)
{
    LoopObject *self = (LoopObject *)op;
    int guest = self->guest == NULL ? -1 : pn_guest_fd(self->guest);
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->page.obj);
    Py_VISIT(self->thread_id);
    Py_VISIT(self->current_handle);
    for (size_t i = 0; i < self->ready.count; i++)
        Py_VISIT((PyObject *)pn_ready_at(&self->ready, i));
    for (size_t i = 0; i < self->timers.count; i++)
        Py_VISIT((PyObject *)self->timers.entries[i].item);
    for (size_t i = 0; i < self->watches.count; i++) {
        if ((int)i == guest)
            continue;
        Py_VISIT((PyObject *)self->watches.items[i].waiters[0]);
        Py_VISIT((PyObject *)self->watches.items[i].waiters[1]);
    }
    return 0;
}

void
pn_loop_clear_ready(LoopObject *self)
{
    PyObject *handle;
    while ((handle = pn_ready_take(&self->ready)) != NULL)
        Py_DECREF(handle);
}

void
pn_loop_clear_timers(LoopObject *self)
{
    PyObject *handle;
    while ((handle = pn_timers_take(&self->timers, INT64_MAX)) != NULL)
        Py_DECREF(handle);
    self->timers.cancelled = 0;
}

static int
loop_clear(PyObject *op)
{
    LoopObject *self = (LoopObject *)op;
    pn_loop_clear_ready(self);
    pn_loop_clear_timers(self);
    pn_loop_clear_watches(self);
    Py_CLEAR(self->current_handle);
    return 0;
}

static void
loop_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    LoopObject *self = (LoopObject *)op;
    PyObject_GC_UnTrack(op);
    (void)loop_clear(op);
    pn_ready_free(&self->ready);
    pn_timers_free(&self->timers);
    pn_watches_free(&self->watches);
    pn_guest_free(self->guest);
    PyBuffer_Release(&self->page);
    Py_CLEAR(self->thread_id);
    pn_handle_free_spares(self);
    type->tp_free(op);
    Py_DECREF(type);
}

int
pn_loop_check_closed(LoopObject *self)
{
    if (!self->closed)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    return -1;
}

LoopObject *
pn_loop_of(PyObject *op)
{
    if (op == NULL)
        return NULL;
    if (Py_TYPE(op)->tp_new == loop_new) /* unless a subclass has __new__ */
        return (LoopObject *)op;
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(op), &pn_module);
    PyErr_Clear();
    pn_state *state = module == NULL ? NULL : PyModule_GetState(module);
    bool is = state != NULL &&
              PyObject_TypeCheck(op, (PyTypeObject *)state->loop_type);
    return is ? (LoopObject *)op : NULL;
}

int
pn_loop_is_debugged(PyObject *op)
{
    LoopObject *self = pn_loop_of(op);
    if (self != NULL || op == NULL)
        return self != NULL && self->debug;
    PyObject *debug = PyObject_CallMethod(op, "get_debug", NULL);
    int is = debug == NULL ? -1 : PyObject_IsTrue(debug);
    Py_XDECREF(debug);
    return is;
}

/* --- methods --- */

static PyObject *
loop_stop(PyObject *op, PyObject *Py_UNUSED(unused))
{
    ((LoopObject *)op)->stopping = true;
    Py_RETURN_NONE;
}

static PyObject *
loop_is_running(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(((LoopObject *)op)->thread_id != Py_None);
}

static PyObject *
loop_is_closed(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(((LoopObject *)op)->closed);
}

static PyObject *
loop_get_debug(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(((LoopObject *)op)->debug);
}

static PyObject *
loop_check_closed(PyObject *op, PyObject *Py_UNUSED(unused))
{
    if (pn_loop_check_closed((LoopObject *)op) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
loop_list_ready(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopObject *self = (LoopObject *)op;
    PyObject *list = PyList_New((Py_ssize_t)self->ready.count);
    for (size_t i = 0; list != NULL && i < self->ready.count; i++)
        PyList_SET_ITEM(list, (Py_ssize_t)i,
                        Py_NewRef((PyObject *)pn_ready_at(&self->ready, i)));
    return list;
}

static PyObject *
loop_list_timers(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopObject *self = (LoopObject *)op;
    PyObject *list = PyList_New((Py_ssize_t)self->timers.count);
    for (size_t i = 0; list != NULL && i < self->timers.count; i++)
        PyList_SET_ITEM(list, (Py_ssize_t)i,
                        Py_NewRef((PyObject *)self->timers.entries[i].item));
    return list;
}

static PyObject *
loop_count_ready(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return PyLong_FromSize_t(((LoopObject *)op)->ready.count);
}

static PyObject *
loop_take_ready(PyObject *op, PyObject *Py_UNUSED(unused))
{
    PyObject *handle = pn_ready_take(&((LoopObject *)op)->ready);
    if (handle == NULL)
        PyErr_SetString(PyExc_IndexError, "pop from an empty deque");
    return handle;
}

static PyObject *
loop_drop_ready(PyObject *op, PyObject *Py_UNUSED(unused))
{
    pn_loop_clear_ready((LoopObject *)op);
    Py_RETURN_NONE;
}

static PyObject *
loop_drop_timers(PyObject *op, PyObject *Py_UNUSED(unused))
{
    pn_loop_clear_timers((LoopObject *)op);
    Py_RETURN_NONE;
}

/* Only while it does not run, so that nothing waits with the old page. */
static PyObject *
loop_spin(PyObject *op, PyObject *args)
{
    LoopObject *self = (LoopObject *)op;
    Py_buffer page;
    int processors;
    double seconds;
    if (!PyArg_ParseTuple(args, "w*id:_spin", &page, &processors, &seconds))
        return NULL;
    if (self->asleep || !(seconds >= 0 && seconds <= 0.01) ||
        (size_t)page.len < sizeof(pn_spin_page)) {
        PyBuffer_Release(&page);
        PyErr_SetString(PyExc_ValueError, "spinning takes 0 to 0.01 seconds");
        return NULL;
    }
    PyBuffer_Release(&self->page);
    self->page = page;
    pn_spin_init(&self->spin, page.buf, self->watches.epoll, processors,
                 (int64_t)(seconds * 1e9));
    Py_RETURN_NONE;
}

static PyMethodDef loop_methods[] = {
    {"stop", loop_stop, METH_NOARGS,
     PyDoc_STR("stop($self, /)\n--\n\nStop at the end of this turn.")},
    {"is_running", loop_is_running, METH_NOARGS,
     PyDoc_STR("is_running($self, /)\n--\n\nWhether it runs.")},
    {"is_closed", loop_is_closed, METH_NOARGS,
     PyDoc_STR("is_closed($self, /)\n--\n\nWhether it was closed.")},
    {"get_debug", loop_get_debug, METH_NOARGS,
     PyDoc_STR("get_debug($self, /)\n--\n\nWhether it is in debug mode.")},
    {"_check_closed", loop_check_closed, METH_NOARGS,
     PyDoc_STR("_check_closed($self, /)\n--\n\n"
               "Raise RuntimeError if it was closed.")},
    {"_list_ready", loop_list_ready, METH_NOARGS,
     PyDoc_STR("_list_ready($self, /)\n--\n\nWhat is to be called next.")},
    {"_list_timers", loop_list_timers, METH_NOARGS,
     PyDoc_STR("_list_timers($self, /)\n--\n\n"
               "What is to be called later; the first is the earliest.")},
    {"_count_ready", loop_count_ready, METH_NOARGS,
     PyDoc_STR("_count_ready($self, /)\n--\n\nHow many are next.")},
    {"_take_ready", loop_take_ready, METH_NOARGS,
     PyDoc_STR("_take_ready($self, /)\n--\n\n"
               "Take what would be called next; IndexError: nothing.")},
    {"_drop_ready", loop_drop_ready, METH_NOARGS,
     PyDoc_STR("_drop_ready($self, /)\n--\n\nCall none of these.")},
    {"_drop_timers", loop_drop_timers, METH_NOARGS,
     PyDoc_STR("_drop_timers($self, /)\n--\n\nCall none of these.")},
    {"_spin", loop_spin, METH_VARARGS,
     PyDoc_STR("_spin($self, page, processors, seconds, /)\n--\n\n"
               "Before sleeping look so long, as a Spinner does.")},
    {NULL, NULL, 0, NULL},
};

/* --- what asyncio's Python code sets and reads --- */

static PyObject *
get_flag(PyObject *op, void *offset)
{
    return PyBool_FromLong(*((bool *)op + (size_t)offset));
}

static int
set_flag(PyObject *op, PyObject *value, void *offset)
{
    int truth = value == NULL ? 0 : PyObject_IsTrue(value);
    if (truth < 0)
        return -1;
    *((bool *)op + (size_t)offset) = truth;
    return 0;
}

#define FLAG(name, member)                                                    \
    {                                                                         \
        name, get_flag, set_flag, NULL, (void *)offsetof(LoopObject, member)  \
    }

static PyGetSetDef loop_getset[] = {
    FLAG("_closed", closed),
    FLAG("_stopping", stopping),
    FLAG("_debug", debug),
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef loop_members[] = {
    {"_thread_id", T_OBJECT, offsetof(LoopObject, thread_id), 0, NULL},
    {"_current_handle", T_OBJECT, offsetof(LoopObject, current_handle), 0,
     NULL},
    {"_forked", T_BOOL, offsetof(LoopObject, forked), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(loop_doc,
             "The core of pulsar_native.Loop: queue, timers, descriptors, "
             "turns.");

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, (void *)loop_doc},   {Py_tp_new, loop_new},
    {Py_tp_getset, loop_getset},     {Py_tp_members, loop_members},
    {Py_tp_traverse, loop_traverse}, {Py_tp_clear, loop_clear},
    {Py_tp_dealloc, loop_dealloc},   {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "pulsar_native._native.LoopCore",
    .basicsize = sizeof(LoopObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = loop_slots,
};

/* The methods of the other files, as a type takes but one table. */
static int
add_methods(PyTypeObject *type, PyMethodDef *methods)
{
    for (; methods->ml_name != NULL; methods++) {
        PyObject *method = PyDescr_NewMethod(type, methods);
        if (method == NULL)
            return -1;
        int err =
            PyObject_SetAttrString((PyObject *)type, methods->ml_name, method);
        Py_DECREF(method);
        if (err < 0)
            return -1;
    }
    return 0;
}

int
pn_add_loop(PyObject *module, pn_state *state)
{
    state->loop_type = PyType_FromModuleAndSpec(module, &loop_spec, NULL);
    PyTypeObject *type = (PyTypeObject *)state->loop_type;
    if (type == NULL || add_methods(type, loop_methods) < 0 ||
        add_methods(type, pn_loop_turn_methods) < 0 ||
        add_methods(type, pn_loop_call_methods) < 0 ||
        add_methods(type, pn_loop_watch_methods) < 0)
        return -1;
    return PyModule_AddType(module, type);
}
