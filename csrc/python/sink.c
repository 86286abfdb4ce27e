#include "python/sink.h"

#include "base/alloc.h"
#include "base/status.h"
#include "python/cell.h"
#include "python/future.h"
#include "python/payload.h"

#define MIN_CAPACITY 8

/* --- life --- */

SinkObject *
pn_sink_new(CellObject *cell, uint64_t window)
{
    PyTypeObject *type = (PyTypeObject *)cell->mailbox->state->sink_type;
    SinkObject *self = (SinkObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->mailbox = (MailboxObject *)Py_NewRef((PyObject *)cell->mailbox);
    self->cell = cell->number;
    pn_taken_init(&self->taken, window);
    return self;
}

static pn_item *
item_at(const SinkObject *self, size_t index)
{
    return &self->items[(self->first + index) & (self->capacity - 1)];
}

static int
sink_traverse(PyObject *op, visitproc visit, void *arg)
{
    SinkObject *self = (SinkObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->mailbox);
    Py_VISIT(self->waiter);
    Py_VISIT(self->error);
    Py_VISIT(self->on_end);
    for (size_t i = 0; i < self->count; i++)
        Py_VISIT(item_at(self, i)->value);
    return 0;
}

void
pn_sink_empty(SinkObject *self)
{
    while (self->count > 0) {
        PyObject *value = item_at(self, 0)->value;
        self->first = (self->first + 1) & (self->capacity - 1);
        self->count--;
        Py_DECREF(value);
    }
}

static int
sink_clear(PyObject *op)
{
    SinkObject *self = (SinkObject *)op;
    pn_sink_empty(self);
    Py_CLEAR(self->mailbox);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->error);
    Py_CLEAR(self->on_end);
    return 0;
}

static void
sink_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)sink_clear(op);
    pn_free(((SinkObject *)op)->items);
    type->tp_free(op);
    Py_DECREF(type);
}

SinkObject *
pn_sink_find(MailboxObject *mailbox, uint64_t id)
{
    const pn_waiter *waiter = pn_map_get(&mailbox->pending.waiters, id);
    PyObject *op = waiter == NULL ? NULL : waiter->object;
    if (op == NULL || !pn_sink_check(mailbox->state, op))
        return NULL;
    return (SinkObject *)op;
}

/* --- waiting --- */

/* Wake who waits. */
static void
wake(SinkObject *self)
{
    PyObject *waiter = self->waiter;
    if (waiter == NULL || self->mailbox == NULL)
        return;
    self->waiter = NULL;
    pn_mailbox_resolve(self->mailbox, waiter, false, Py_None);
    Py_DECREF(waiter);
}

PyObject *
pn_sink_wait(SinkObject *self)
{
    if (self->waiter != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "somebody waits for the stream's next item already");
        return NULL;
    }
    if (self->mailbox == NULL) /* being collected */
        return pn_mailbox_unusable();
    PyObject *future = pn_mailbox_new_future(self->mailbox);
    if (future != NULL)
        self->waiter = Py_NewRef(future);
    return future;
}

void
pn_sink_wait_over(SinkObject *self, PyObject *future)
{
    if (self->waiter == future)
        Py_CLEAR(self->waiter);
}

/* --- what comes --- */

static int
grow(SinkObject *self)
{
    size_t capacity = self->capacity == 0 ? MIN_CAPACITY : 2 * self->capacity;
    pn_item *items = pn_alloc(capacity * sizeof *items);
    if (items == NULL)
        return PN_ENOMEM;
    for (size_t i = 0; i < self->count; i++)
        items[i] = *item_at(self, i);
    pn_free(self->items);
    self->items = items;
    self->capacity = capacity;
    self->first = 0;
    return PN_OK;
}

/* More than was granted, or no memory: no such stream goes on. */
static void
overflow(SinkObject *self)
{
    if (self->count >= self->taken.window)
        PyErr_SetString(self->mailbox->state->protocol_error,
                        "the source of a stream sends more than it may");
    else
        PyErr_NoMemory();
    PyObject *error = pn_take_exception();
    pn_sink_break(self, error);
    Py_XDECREF(error);
}

void
pn_sink_put(SinkObject *self, uint64_t source, PyObject *value, size_t size)
{
    if (self->ended)
        return;
    self->source = source;
    if (self->count >= self->taken.window ||
        (self->count == self->capacity && grow(self) < 0)) {
        overflow(self);
        return;
    }
    self->count++;
    *item_at(self, self->count - 1) = (pn_item){Py_NewRef(value), size};
    wake(self);
}

void
pn_sink_end(SinkObject *self, PyObject *error)
{
    if (self->ended)
        return;
    self->ended = true;
    self->id = 0;
    self->error = Py_XNewRef(error);
    PyObject *on_end = self->on_end;
    self->on_end = NULL;
    wake(self);
    if (on_end == NULL)
        return;
    PyObject *result = PyObject_CallNoArgs(on_end);
    if (result == NULL)
        PyErr_WriteUnraisable(on_end);
    Py_XDECREF(result);
    Py_DECREF(on_end);
}

/* --- leaving --- */

void
pn_sink_break(SinkObject *self, PyObject *error)
{
    uint64_t id = self->id;
    Py_INCREF(self);
    if (id != 0)
        pn_mailbox_cancel_ask(self->mailbox, id);
    pn_sink_end(self, error);
    Py_DECREF(self);
}

/* Another thread's collector has found the stream: its own thread is asked to
 * leave it. */
static void
leave_from_afar(SinkObject *self)
{
    PyObject *loop = Py_XNewRef(self->mailbox->loop);
    if (loop == NULL)
        return;
    PyObject *leave = PyObject_GetAttrString((PyObject *)self, "leave");
    PyObject *handle = NULL;
    if (leave != NULL)
        handle = PyObject_CallMethod(loop, "call_soon_threadsafe", "O", leave);
    if (handle == NULL)
        PyErr_Clear(); /* the loop is closed, and so is all that waits */
    Py_XDECREF(handle);
    Py_XDECREF(leave);
    Py_DECREF(loop);
}

void
pn_sink_leave(SinkObject *self)
{
    if (self->mailbox == NULL)
        return;
    if (self->mailbox->thread != PyThread_get_thread_ident()) {
        if (!self->ended)
            leave_from_afar(self);
        return;
    }
    pn_sink_break(self, NULL);
    pn_sink_empty(self);
    Py_CLEAR(self->error);
}

/* --- what is taken --- */

/* Tell the source that so many items have been taken. */
static void
grant(SinkObject *self, uint64_t items)
{
    MailboxObject *mailbox = self->mailbox;
    uint8_t bytes[sizeof items];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(items >> 8 * i);
    pn_envelope env = {
        .kind = PN_GRANT,
        .source = self->cell,
        .target = self->source,
        .id = self->id,
    };
    pn_way way = {0};
    pn_ref payload = {0};
    if (!mailbox->closed)
        way = pn_mailbox_way(mailbox, env.target);
    if (!pn_way_exists(way))
        return; /* the source has ended */
    PyObject *kept =
        PyBytes_FromStringAndSize((const char *)bytes, sizeof bytes);
    if (kept == NULL || pn_payload_of(kept, &payload) < 0 ||
        pn_mailbox_put(mailbox, way, &env, payload) < 0)
        pn_mailbox_report(mailbox);
    Py_XDECREF(kept);
}

static PyObject *
take_end(SinkObject *self)
{
    PyObject *error = self->error;
    self->error = NULL;
    if (error == NULL) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return NULL;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    return NULL;
}

PyObject *
pn_sink_take(SinkObject *self)
{
    if (self->count == 0)
        return self->ended ? take_end(self) : NULL;
    pn_item item = *item_at(self, 0);
    self->first = (self->first + 1) & (self->capacity - 1);
    self->count--;
    uint64_t items = pn_taken_add(&self->taken, item.size);
    if (items > 0 && !self->ended)
        grant(self, items);
    return item.value;
}

/* --- methods --- */

static PyObject *
sink_cancel(PyObject *op, PyObject *unused)
{
    (void)unused;
    SinkObject *self = (SinkObject *)op;
    if (self->mailbox == NULL)
        Py_RETURN_FALSE;
    PyObject *error =
        PyObject_CallNoArgs(self->mailbox->state->cancelled_error);
    if (error == NULL)
        return NULL;
    pn_sink_end(self, error);
    Py_DECREF(error);
    Py_RETURN_TRUE;
}

static PyObject *
sink_leave(PyObject *op, PyObject *unused)
{
    (void)unused;
    pn_sink_leave((SinkObject *)op);
    Py_RETURN_NONE;
}

static PyMethodDef sink_methods[] = {
    {"cancel", sink_cancel, METH_NOARGS,
     PyDoc_STR("cancel($self, /)\n--\n\nIts actor ends.")},
    {"leave", sink_leave, METH_NOARGS,
     PyDoc_STR("leave($self, /)\n--\n\nNobody wants more of it.")},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(sink_doc, "Where the items of a stream wait to be taken.");

static PyType_Slot sink_slots[] = {
    {Py_tp_doc, (void *)sink_doc},   {Py_tp_methods, sink_methods},
    {Py_tp_traverse, sink_traverse}, {Py_tp_clear, sink_clear},
    {Py_tp_dealloc, sink_dealloc},   {0, NULL},
};

static PyType_Spec sink_spec = {
    .name = "pulsar_native._native.Sink",
    .basicsize = sizeof(SinkObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = sink_slots,
};

int
pn_add_sink(PyObject *module, pn_state *state)
{
    state->sink_type = PyType_FromModuleAndSpec(module, &sink_spec, NULL);
    return state->sink_type == NULL
               ? -1
               : PyModule_AddType(module, (PyTypeObject *)state->sink_type);
}
