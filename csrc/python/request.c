#include "python/request.h"

#include "python/future.h"
#include "python/mailbox_defer.h"
#include "sys/clock.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

static int
request_traverse(PyObject *op, visitproc visit, void *arg)
{
    RequestObject *self = (RequestObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->cell);
    Py_VISIT(self->caller);
    Py_VISIT(self->progress);
    Py_VISIT(self->task);
    Py_VISIT(self->serializer);
    return 0;
}

static int
request_clear(PyObject *op)
{
    RequestObject *self = (RequestObject *)op;
    pn_request_end(self);
    Py_CLEAR(self->cell);
    Py_CLEAR(self->caller);
    Py_CLEAR(self->progress);
    Py_CLEAR(self->task);
    Py_CLEAR(self->baggage);
    Py_CLEAR(self->serializer);
    return 0;
}

static void
request_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)request_clear(op);
    PyMem_Free(((RequestObject *)op)->chain);
    type->tp_free(op);
    Py_DECREF(type);
}

/* The chain with which asks of this request go out: those that wait for it,
 * and its own actor. Of a long one the last are kept. */
static int
copy_chain(RequestObject *self, const pn_extension *ext)
{
    self->chain = PyMem_Malloc(PN_CHAIN_LIMIT * sizeof(uint64_t));
    if (self->chain == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    size_t skipped = ext->chain_count < PN_CHAIN_LIMIT ? 0 : 1;
    size_t count = ext->chain_count - skipped;
    if (count > 0)
        memcpy(self->chain, ext->chain + skipped * sizeof(uint64_t),
               count * sizeof(uint64_t));
    self->chain_count =
        pn_extension_append(self->chain, count, self->cell->number);
    return 0;
}

RequestObject *
pn_request_new(CellObject *cell, const pn_mail *mail)
{
    PyTypeObject *type = (PyTypeObject *)cell->mailbox->state->request_type;
    RequestObject *self = (RequestObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->cell = (CellObject *)Py_NewRef((PyObject *)cell);
    self->source = mail->env.source;
    self->id = mail->env.kind == PN_ASK ? mail->env.id : 0;
    self->deadline = mail->ext.deadline;
    self->kill = mail->ext.overdue == PN_OVERDUE_KILL;
    self->aside = pn_mailbox_is_aside(&mail->env);
    bool failed =
        mail->ext.chain_count > 0 && copy_chain(self, &mail->ext) < 0;
    if (!failed && mail->ext.baggage_size > 0) {
        self->baggage =
            PyBytes_FromStringAndSize((const char *)mail->ext.baggage,
                                      (Py_ssize_t)mail->ext.baggage_size);
        failed = self->baggage == NULL;
    }
    if (failed)
        Py_CLEAR(self);
    return self;
}

/* --- the table of those that run --- */

uint64_t
pn_request_key(uint64_t source, uint64_t id)
{
    /* 2^64 divided by the golden ratio: ids of one source stay apart. */
    return pn_node_of(source) * 0x9e3779b97f4a7c15u + id;
}

RequestObject *
pn_request_find(MailboxObject *mailbox, uint64_t source, uint64_t id)
{
    uint64_t key = pn_request_key(source, id);
    RequestObject *at = pn_map_get(&mailbox->running, key);
    while (at != NULL && (at->source != source || at->id != id))
        at = at->next;
    return at;
}

/* An ask can be found and cancelled; a tell is only counted. */
static int
enter(RequestObject *self)
{
    MailboxObject *mailbox = self->cell->mailbox;
    uint64_t key = pn_request_key(self->source, self->id);
    self->next = pn_map_get(&mailbox->running, key);
    if (pn_map_put(&mailbox->running, key, self) == 0)
        return 0;
    self->next = NULL;
    PyErr_NoMemory();
    return -1;
}

static void
leave(RequestObject *self)
{
    MailboxObject *mailbox = self->cell->mailbox;
    if (mailbox == NULL)
        return; /* all of it is being collected */
    uint64_t key = pn_request_key(self->source, self->id);
    RequestObject *first = pn_map_get(&mailbox->running, key);
    if (first == self && self->next == NULL) {
        (void)pn_map_take(&mailbox->running, key);
    } else if (first == self) { /* replacing takes no memory */
        (void)pn_map_put(&mailbox->running, key, self->next);
    } else {
        while (first != NULL && first->next != self)
            first = first->next;
        if (first != NULL)
            first->next = self->next;
    }
    self->next = NULL;
}

int
pn_request_begin(RequestObject *self, PyObject *task)
{
    if (self->running)
        return 0;
    if (self->id != 0 && enter(self) < 0)
        return -1;
    self->running = true;
    self->task = Py_XNewRef(task);
    self->cell->inflight += !self->aside;
    return 0;
}

void
pn_request_end(RequestObject *self)
{
    if (!self->running)
        return;
    self->running = false;
    if (self->id != 0 && self->cell->mailbox != NULL) /* not collected */
        leave(self);
    self->cell->inflight -= !self->aside;
    Py_CLEAR(self->task);
}

/* --- what a command sees --- */

static PyObject *
request_get_actor(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    if (self->cell == NULL)
        Py_RETURN_NONE;
    return pn_cell_actor(self->cell);
}

static PyObject *
request_get_caller(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    PyObject *make =
        self->cell == NULL ? NULL : self->cell->mailbox->port.proxy;
    if (make == NULL)
        Py_RETURN_NONE;
    if (self->caller == NULL) {
        Py_INCREF(make);
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
request_get_progress(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    PyObject *make =
        self->cell == NULL ? NULL : self->cell->mailbox->port.progress;
    if (make == NULL)
        Py_RETURN_NONE;
    if (self->progress == NULL) {
        Py_INCREF(make);
        PyObject *progress = PyObject_CallFunction(
            make, "OKK", (PyObject *)self->cell,
            (unsigned long long)self->source, (unsigned long long)self->id);
        Py_DECREF(make);
        if (progress == NULL)
            return NULL;
        Py_XSETREF(self->progress, progress);
    }
    return Py_NewRef(self->progress);
}

static PyObject *
request_get_connection(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    if (self->cell == NULL || self->source == self->cell->number)
        Py_RETURN_NONE;
    return Py_NewRef((PyObject *)self->cell->mailbox);
}

static PyObject *
request_get_deadline(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    if (self->deadline == 0)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)self->deadline / 1e9);
}

static PyObject *
request_get_baggage(PyObject *op, void *closure)
{
    (void)closure;
    RequestObject *self = (RequestObject *)op;
    return Py_NewRef(self->baggage == NULL ? Py_None : self->baggage);
}

static PyGetSetDef request_getset[] = {
    {"actor", request_get_actor, NULL, "The Actor that runs the command.",
     NULL},
    {"caller", request_get_caller, NULL,
     "The ActorProxy of the actor that sent it.", NULL},
    {"progress", request_get_progress, NULL,
     "To be called as progress(done, total=None, note=''): tell the caller "
     "how far the command has come.",
     NULL},
    {"connection", request_get_connection, NULL,
     "The actor's mailbox; None for what it sent to itself.", NULL},
    {"deadline", request_get_deadline, NULL,
     "When its answer is of no use any more, in seconds of time.monotonic(); "
     "None: never.",
     NULL},
    {"_baggage", request_get_baggage, NULL,
     "What the caller's context sent along, as bytes, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef request_methods[] = {
    {"_call", pn_request_call, METH_VARARGS,
     PyDoc_STR("_call($self, command, first, args, kwargs, /)\n--\n\n"
               "Call the function of a command that was deferred.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef request_members[] = {
    {"cancelled", T_BOOL, offsetof(RequestObject, cancelled), READONLY,
     "Whether nobody waits for its answer any more."},
    {"id", T_ULONGLONG, offsetof(RequestObject, id), READONLY,
     "The ask's number at its caller; 0 for a tell."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(request_doc,
             "What a command gets first: who runs it, who asked, until when.");

static PyType_Slot request_slots[] = {
    {Py_tp_doc, (void *)request_doc},   {Py_tp_getset, request_getset},
    {Py_tp_methods, request_methods},   {Py_tp_members, request_members},
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
