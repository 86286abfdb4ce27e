#include "python/source.h"

#include "base/status.h"
#include "python/future.h"
#include "python/mailbox_payload.h"
#include "sys/clock.h"

/* While a task puts in items, those before wait no longer for the link. */
#define GATHER_NS 100000

/* So long a task may go on putting in items before others get a turn. */
#define TURN_NS 2000000

/* --- life --- */

PyObject *
pn_source_new(RequestObject *request, uint64_t window)
{
    pn_state *state = request->cell->mailbox->state;
    PyTypeObject *type = (PyTypeObject *)state->source_type;
    SourceObject *self = (SourceObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    pn_credit_init(&self->credit, window);
    self->request = (RequestObject *)Py_NewRef((PyObject *)request);
    request->stream = self;
    self->turn_began = pn_clock_now();
    return (PyObject *)self;
}

static int
source_traverse(PyObject *op, visitproc visit, void *arg)
{
    SourceObject *self = (SourceObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->request);
    Py_VISIT(self->waiter);
    return 0;
}

static int
source_clear(PyObject *op)
{
    SourceObject *self = (SourceObject *)op;
    RequestObject *request = self->request;
    self->request = NULL;
    if (request != NULL)
        request->stream = NULL;
    Py_XDECREF((PyObject *)request);
    Py_CLEAR(self->waiter);
    return 0;
}

static void
source_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)source_clear(op);
    pn_credit_free(&((SourceObject *)op)->credit);
    type->tp_free(op);
    Py_DECREF(type);
}

bool
pn_source_fits(PyObject *value)
{
    const PyAsyncMethods *async = Py_TYPE(value)->tp_as_async;
    return PyGen_CheckExact(value) ||
           (async != NULL && async->am_anext != NULL);
}

/* --- credit --- */

static uint64_t
read_number(const uint8_t *bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof number; i++)
        number |= (uint64_t)bytes[i] << 8 * i;
    return number;
}

void
pn_source_grant(MailboxObject *mailbox, const pn_mail *mail)
{
    RequestObject *request =
        pn_request_find(mailbox, mail->env.source, mail->env.id);
    SourceObject *self = request == NULL ? NULL : request->stream;
    if (self == NULL || mail->size != sizeof(uint64_t))
        return; /* ended meanwhile; or no word of a correct peer */
    pn_credit_grant(&self->credit, read_number(mail->payload));
    if (self->waiter == NULL || !pn_credit_left(&self->credit))
        return;
    PyObject *waiter = self->waiter;
    self->waiter = NULL;
    pn_mailbox_resolve(mailbox, waiter, false, Py_None);
    Py_DECREF(waiter);
}

void
pn_source_orphan(MailboxObject *mailbox, uint64_t node)
{
    PyObject *found = PyList_New(0);
    size_t cursor = 0;
    const pn_map_entry *entry;
    while (found != NULL &&
           (entry = pn_map_next(&mailbox->running, &cursor)) != NULL) {
        for (RequestObject *at = entry->value; at != NULL; at = at->next) {
            if (at->stream != NULL && pn_node_of(at->source) == node &&
                PyList_Append(found, (PyObject *)at) < 0)
                Py_CLEAR(found);
            if (found == NULL)
                break;
        }
    }
    Py_ssize_t count = found == NULL ? 0 : PyList_GET_SIZE(found);
    for (Py_ssize_t i = 0; i < count; i++) {
        RequestObject *at = (RequestObject *)PyList_GET_ITEM(found, i);
        pn_mailbox_recall(mailbox, at->cell->number, at->source, at->id);
    }
    if (found == NULL)
        pn_mailbox_report(mailbox);
    Py_XDECREF(found);
}

/* --- putting in --- */

/* The future of the loop that is done when there is credit. */
static PyObject *
wait_for_credit(SourceObject *self)
{
    PyObject *future = pn_mailbox_new_future(self->request->cell->mailbox);
    if (future == NULL)
        return NULL;
    Py_XSETREF(self->waiter, Py_NewRef(future));
    self->turn_began = 0;
    return future;
}

/* True if the loop may go on with this task; else it should come back to it
 * later. What was put in long ago leaves. */
static PyObject *
keep_time(SourceObject *self, MailboxObject *mailbox)
{
    int64_t now = pn_clock_now();
    if (mailbox->dirty != NULL && now - mailbox->flushed_at > GATHER_NS)
        pn_mailbox_flush_dirty(mailbox);
    if (self->turn_began == 0)
        self->turn_began = now;
    if (now - self->turn_began < TURN_NS)
        Py_RETURN_TRUE;
    self->turn_began = 0;
    Py_RETURN_FALSE;
}

/* Whether anybody wants another item; else the task is to end. */
static bool
is_wanted(const SourceObject *self)
{
    const RequestObject *request = self->request;
    return request != NULL && !request->cancelled && request->cell != NULL &&
           !request->cell->gone && !request->cell->mailbox->closed;
}

static PyObject *
source_put(PyObject *op, PyObject *item)
{
    SourceObject *self = (SourceObject *)op;
    if (!is_wanted(self)) {
        PyErr_SetNone(pn_state_of(Py_TYPE(op))->cancelled_error);
        return NULL;
    }
    RequestObject *request = self->request;
    MailboxObject *mailbox = request->cell->mailbox;
    pn_envelope env = {
        .kind = PN_ITEM,
        .source = request->cell->number,
        .target = request->source,
        .id = request->id,
    };
    size_t size;
    if (pn_mailbox_put_value(mailbox, &env, item, &size) < 0)
        return NULL;
    if (self->request == NULL || pn_credit_spend(&self->credit, size) < 0)
        return PyErr_NoMemory();
    if (!pn_credit_left(&self->credit))
        return wait_for_credit(self);
    return keep_time(self, mailbox);
}

static PyMethodDef source_methods[] = {
    {"put", source_put, METH_O,
     PyDoc_STR("put($self, item, /)\n--\n\n"
               "Send an item. True: there may be another one; False: others "
               "should run first; a future: not before that is done. Raises "
               "CancelledError if nobody wants more.")},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(source_doc, "Where the items of a stream come from.");

static PyType_Slot source_slots[] = {
    {Py_tp_doc, (void *)source_doc},   {Py_tp_methods, source_methods},
    {Py_tp_traverse, source_traverse}, {Py_tp_clear, source_clear},
    {Py_tp_dealloc, source_dealloc},   {0, NULL},
};

static PyType_Spec source_spec = {
    .name = "pulsar_native._native.Source",
    .basicsize = sizeof(SourceObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = source_slots,
};

int
pn_add_source(PyObject *module, pn_state *state)
{
    state->source_type = PyType_FromModuleAndSpec(module, &source_spec, NULL);
    return state->source_type == NULL
               ? -1
               : PyModule_AddType(module, (PyTypeObject *)state->source_type);
}
