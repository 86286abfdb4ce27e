#include "python/cell.h"

#include "python/stream.h"
#include "sys/clock.h"

#include <stddef.h>
#include <structmember.h>

/* --- life --- */

CellObject *
pn_cell_new(MailboxObject *mailbox, uint64_t number, PyObject *actor)
{
    PyTypeObject *type = (PyTypeObject *)mailbox->state->cell_type;
    CellObject *self = (CellObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->mailbox = (MailboxObject *)Py_NewRef((PyObject *)mailbox);
    self->number = number;
    self->actor = Py_XNewRef(actor);
    self->limits = mailbox->main == NULL
                       ? pn_cell_limits_new()
                       : pn_cell_limits_keep(mailbox->main->limits);
    if (self->limits != NULL)
        return self;
    Py_DECREF(self);
    (void)PyErr_NoMemory();
    return NULL;
}

static int
cell_traverse(PyObject *op, visitproc visit, void *arg)
{
    CellObject *self = (CellObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->mailbox);
    Py_VISIT(self->actor);
    Py_VISIT(self->instance);
    Py_VISIT(self->methods);
    Py_VISIT(self->tasks);
    Py_VISIT(self->context);
    return 0;
}

/* Not the mailbox, which others reach through it: that clears itself. */
static int
cell_clear(PyObject *op)
{
    CellObject *self = (CellObject *)op;
    pn_cell_drop_waiting(self);
    Py_CLEAR(self->actor);
    Py_CLEAR(self->instance);
    Py_CLEAR(self->methods);
    Py_CLEAR(self->tasks);
    Py_CLEAR(self->context);
    return 0;
}

static void
cell_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)cell_clear(op);
    Py_CLEAR(((CellObject *)op)->mailbox);
    pn_cell_limits_drop(((CellObject *)op)->limits);
    type->tp_free(op);
    Py_DECREF(type);
}

CellObject *
pn_mailbox_cell(MailboxObject *self, uint64_t number)
{
    if (self->main != NULL && number == self->main->number)
        return self->main;
    return pn_map_get(&self->cells, number);
}

PyObject *
pn_cell_actor(CellObject *self)
{
    if (self->actor == NULL && self->mailbox != NULL) {
        PyObject *make = Py_XNewRef(self->mailbox->port.actor);
        PyObject *made =
            make == NULL ? NULL : PyObject_CallOneArg(make, (PyObject *)self);
        Py_XDECREF(make);
        if (made == NULL)
            return make == NULL ? Py_NewRef(Py_None) : NULL;
        if (self->actor == NULL)
            self->actor = Py_NewRef(made);
        Py_DECREF(made);
    }
    return Py_NewRef(self->actor == NULL ? Py_None : self->actor);
}

PyObject *
pn_cell_tasks(CellObject *self)
{
    if (self->tasks == NULL)
        self->tasks = PySet_New(NULL);
    return self->tasks;
}

/* --- methods --- */

static PyObject *
cell_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return pn_cell_put((CellObject *)op, args, nargs, false);
}

static PyObject *
cell_tell(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return pn_cell_put((CellObject *)op, args, nargs, true);
}

static PyObject *
cell_stream(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return pn_cell_stream((CellObject *)op, args, nargs);
}

static PyObject *
cell_get_actor(PyObject *op, void *closure)
{
    (void)closure;
    return pn_cell_actor((CellObject *)op);
}

static PyObject *
cell_get_made(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *actor = ((CellObject *)op)->actor;
    return Py_NewRef(actor == NULL ? Py_None : actor);
}

static PyObject *
cell_get_busy(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *tasks = ((CellObject *)op)->tasks;
    return PyBool_FromLong(tasks != NULL && PySet_GET_SIZE(tasks) > 0);
}

static PyObject *
cell_get_tasks(PyObject *op, void *closure)
{
    (void)closure;
    return Py_XNewRef(pn_cell_tasks((CellObject *)op));
}

static PyObject *
cell_get_waiting(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(pn_cell_waiting((CellObject *)op));
}

static PyObject *
cell_get_waiting_bytes(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(pn_cell_waiting_bytes((CellObject *)op));
}

static PyObject *
cell_get_oldest(PyObject *op, void *closure)
{
    (void)closure;
    int64_t age = pn_cell_oldest((CellObject *)op);
    return PyFloat_FromDouble((double)age / 1e9);
}

static PyObject *
cell_get_max_inflight(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(((CellObject *)op)->limits->max_inflight);
}

static PyMethodDef cell_methods[] = {
    {"send", (PyCFunction)(void (*)(void))cell_send, METH_FASTCALL,
     PyDoc_STR("send($self, target, command, args, kwargs, /)\n--\n\n"
               "Send a command; the future is its reply, or None for one "
               "without.")},
    {"tell", (PyCFunction)(void (*)(void))cell_tell, METH_FASTCALL,
     PyDoc_STR("tell($self, target, command, args, kwargs, /)\n--\n\n"
               "Send a command without a reply; the future is None.")},
    {"stream", (PyCFunction)(void (*)(void))cell_stream, METH_FASTCALL,
     PyDoc_STR(PN_STREAM_DOC)},
    {"limit", (PyCFunction)(void (*)(void))pn_cell_limit,
     METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("limit($self, *, max_inflight=..., messages=..., bytes=..., "
               "policy=..., slow=..., ask_timeout=...)\n--\n\n"
               "Change some of its settings; those that wait may begin.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cell_getset[] = {
    {"actor", cell_get_actor, NULL, "Its actor, made when asked for.", NULL},
    {"made", cell_get_made, NULL, "Its actor, or None if it was not made.",
     NULL},
    {"tasks", cell_get_tasks, NULL, "The set of command tasks that run.",
     NULL},
    {"busy", cell_get_busy, NULL, "Whether there are any.", NULL},
    {"waiting", cell_get_waiting, NULL,
     "How many messages wait for others to end.", NULL},
    {"waiting_bytes", cell_get_waiting_bytes, NULL,
     "How many bytes their payloads have.", NULL},
    {"oldest", cell_get_oldest, NULL,
     "How many seconds the oldest of them has waited; 0.0 without one.", NULL},
    {"max_inflight", cell_get_max_inflight, NULL,
     "How many requests may be under way at once; 0: no limit.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define COUNT(name, doc)                                                      \
    {                                                                         \
#name, T_ULONGLONG, offsetof(CellObject, name), READONLY, doc         \
    }

static PyMemberDef cell_members[] = {
    {"mailbox", T_OBJECT, offsetof(CellObject, mailbox), READONLY,
     "The Mailbox of its node."},
    {"instance", T_OBJECT, offsetof(CellObject, instance), 0,
     "The object of a user's class whose methods are commands, or None."},
    {"context", T_OBJECT, offsetof(CellObject, context), 0,
     "Its commands run in copies of this Context; None: its mailbox's."},
    {"methods", T_OBJECT, offsetof(CellObject, methods), 0,
     "A dict of those commands by name, or None."},
    {"ending", T_BOOL, offsetof(CellObject, ending), 0,
     "Whether commands that are cancelled now get no answer."},
    {"draining", T_BOOL, offsetof(CellObject, draining), 0,
     "Whether new messages are turned away, but those of its own actor."},
    {"inflight", T_UINT, offsetof(CellObject, inflight), READONLY,
     "How many are under way."},
    {"born", T_LONGLONG, offsetof(CellObject, born), READONLY,
     "Monotonic nanoseconds; 0 for the node's own."},
    {"gone", T_BOOL, offsetof(CellObject, gone), READONLY,
     "Whether its actor has ended."},
    COUNT(number, "The number of its actor."),
    COUNT(handled, "Commands run."),
    COUNT(failed, "Commands that raised."),
    COUNT(expired, "Asks whose deadline had passed before they ran."),
    COUNT(dead_letters, "Tells that reached nobody."),
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(cell_doc, "One actor's end of messaging inside its Mailbox.");

static PyType_Slot cell_slots[] = {
    {Py_tp_doc, (void *)cell_doc},   {Py_tp_methods, cell_methods},
    {Py_tp_getset, cell_getset},     {Py_tp_members, cell_members},
    {Py_tp_traverse, cell_traverse}, {Py_tp_clear, cell_clear},
    {Py_tp_dealloc, cell_dealloc},   {0, NULL},
};

static PyType_Spec cell_spec = {
    .name = "pulsar_native._native.Cell",
    .basicsize = sizeof(CellObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = cell_slots,
};

static PyObject *
current_cell(PyObject *module, PyObject *unused)
{
    (void)unused;
    pn_state *state = PyModule_GetState(module);
    PyObject *value;
    if (PyContextVar_Get(state->current, NULL, &value) < 0)
        return NULL;
    if (value == NULL || value == Py_None)
        return value == NULL ? Py_NewRef(Py_None) : value;
    const MailboxObject *mailbox = NULL;
    if (Py_TYPE(value) == (PyTypeObject *)state->cell_type)
        mailbox = ((CellObject *)value)->mailbox;
    bool usable = mailbox != NULL && !mailbox->closed &&
                  mailbox->thread == PyThread_get_thread_ident();
    PyObject *loop = NULL;
    if (usable)
        loop = PyObject_CallNoArgs(state->get_running_loop);
    if (usable && loop == NULL)
        PyErr_Clear(); /* no loop runs: no mailbox to use */
    usable = usable && loop == mailbox->loop;
    Py_XDECREF(loop);
    if (usable)
        return value;
    Py_DECREF(value);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"current_cell", current_cell, METH_NOARGS,
     PyDoc_STR("current_cell($module, /)\n--\n\n"
               "The current actor's Cell, if its loop runs in this thread; "
               "else None.")},
    {NULL, NULL, 0, NULL},
};

int
pn_add_cell(PyObject *module, pn_state *state)
{
    state->cell_type = PyType_FromModuleAndSpec(module, &cell_spec, NULL);
    state->current = PyContextVar_New("pulsar_native.current", Py_None);
    if (state->cell_type == NULL || state->current == NULL ||
        PyModule_AddFunctions(module, functions) < 0 ||
        PyModule_AddObjectRef(module, "current", state->current) < 0)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->cell_type);
}
