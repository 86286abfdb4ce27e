#include "python/request.h"

typedef struct {
    PyObject_HEAD MailboxObject *mailbox; /* strong */
    PyObject *caller;                     /* made when asked for */
    uint64_t source;
} RequestObject;

static int
request_traverse(PyObject *op, visitproc visit, void *arg)
{
    RequestObject *self = (RequestObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->mailbox);
    Py_VISIT(self->caller);
    return 0;
}

static int
request_clear(PyObject *op)
{
    RequestObject *self = (RequestObject *)op;
    Py_CLEAR(self->mailbox);
    Py_CLEAR(self->caller);
    return 0;
}

static void
request_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)request_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyObject *
pn_request_new(MailboxObject *mailbox, uint64_t source)
{
    PyTypeObject *type = (PyTypeObject *)mailbox->state->request_type;
    RequestObject *self = (RequestObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->mailbox = (MailboxObject *)Py_NewRef((PyObject *)mailbox);
    self->source = source;
    return (PyObject *)self;
}

static PyObject *
request_get_actor(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    PyObject *actor = self->mailbox == NULL ? NULL : self->mailbox->actor;
    return Py_NewRef(actor == NULL ? Py_None : actor);
}

static PyObject *
request_get_caller(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    if (self->mailbox == NULL || self->mailbox->port.proxy == NULL)
        Py_RETURN_NONE;
    if (self->caller == NULL) {
        PyObject *make = Py_NewRef(self->mailbox->port.proxy);
        PyObject *caller =
            PyObject_CallFunction(make, "K", (unsigned long long)self->source);
        Py_DECREF(make);
        if (caller == NULL)
            return NULL;
        Py_XSETREF(self->caller, caller);
    }
    return Py_NewRef(self->caller);
}

static PyObject *
request_get_connection(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    if (self->mailbox == NULL || self->source == self->mailbox->number)
        Py_RETURN_NONE;
    return Py_NewRef((PyObject *)self->mailbox);
}

static PyGetSetDef request_getset[] = {
    {"actor", request_get_actor, NULL, "The Actor that runs the command.",
     NULL},
    {"caller", request_get_caller, NULL,
     "The ActorProxy of the actor that sent it.", NULL},
    {"connection", request_get_connection, NULL,
     "The actor's mailbox; None for what it sent to itself.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(request_doc,
             "What a command gets first: actor, caller and connection.");

static PyType_Slot request_slots[] = {
    {Py_tp_doc, (void *)request_doc},   {Py_tp_getset, request_getset},
    {Py_tp_traverse, request_traverse}, {Py_tp_clear, request_clear},
    {Py_tp_dealloc, request_dealloc},   {0, NULL},
};

static PyType_Spec request_spec = {
    .name = "pulsar_native._native.Request",
    .basicsize = sizeof(RequestObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = request_slots,
};

int
pn_add_request(PyObject *module, pn_state *state)
{
    state->request_type =
        PyType_FromModuleAndSpec(module, &request_spec, NULL);
    if (state->request_type == NULL)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->request_type);
}
