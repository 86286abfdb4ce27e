#include "python/replier.h"

#include "python/future.h"

typedef struct {
    PyObject_HEAD MailboxObject *mailbox; /* strong */
    uint64_t source;
    uint64_t id;
} ReplierObject;

static int
replier_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((ReplierObject *)op)->mailbox);
    return 0;
}

static int
replier_clear(PyObject *op)
{
    Py_CLEAR(((ReplierObject *)op)->mailbox);
    return 0;
}

static void
replier_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)replier_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* 0, or -1 with the exception that is to end the program's loop. */
static int
answer(MailboxObject *mailbox, PyObject *task, uint64_t source, uint64_t id)
{
    PyObject *result = PyObject_CallMethodNoArgs(task, mailbox->state->result);
    PyObject *error = result == NULL ? pn_take_exception() : NULL;
    if (result != NULL && id != 0)
        pn_mailbox_reply(mailbox, source, id, result);
    /* What the actor's own end cancels is answered by its DOWN. */
    bool ended =
        error != NULL && mailbox->ending &&
        PyErr_GivenExceptionMatches(error, mailbox->state->cancelled_error);
    if (error != NULL && !ended)
        pn_mailbox_failed(mailbox, source, id, error);
    Py_XDECREF(result);
    Py_XDECREF(error);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *
replier_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    ReplierObject *self = (ReplierObject *)op;
    PyObject *task;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Replier takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:Replier", &task))
        return NULL;
    MailboxObject *mailbox = self->mailbox;
    if (mailbox == NULL || mailbox->tasks == NULL)
        Py_RETURN_NONE; /* being collected */
    Py_INCREF(mailbox);
    int err = PySet_Discard(mailbox->tasks, task) < 0
                  ? -1
                  : answer(mailbox, task, self->source, self->id);
    Py_DECREF(mailbox);
    if (err < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(replier_doc, "Answers an ask when its command's task is done.");

static PyType_Slot replier_slots[] = {
    {Py_tp_doc, (void *)replier_doc},   {Py_tp_call, replier_call},
    {Py_tp_traverse, replier_traverse}, {Py_tp_clear, replier_clear},
    {Py_tp_dealloc, replier_dealloc},   {0, NULL},
};

static PyType_Spec replier_spec = {
    .name = "pulsar_native._native.Replier",
    .basicsize = sizeof(ReplierObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = replier_slots,
};

int
pn_add_replier(PyObject *module, pn_state *state)
{
    state->replier_type =
        PyType_FromModuleAndSpec(module, &replier_spec, NULL);
    return state->replier_type == NULL
               ? -1
               : PyModule_AddType(module, (PyTypeObject *)state->replier_type);
}

static PyObject *
new_replier(MailboxObject *mailbox, uint64_t source, uint64_t id)
{
    PyTypeObject *type = (PyTypeObject *)mailbox->state->replier_type;
    ReplierObject *self = (ReplierObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->mailbox = (MailboxObject *)Py_NewRef((PyObject *)mailbox);
    self->source = source;
    self->id = id;
    return (PyObject *)self;
}

int
pn_replier_watch(MailboxObject *mailbox, PyObject *task, uint64_t source,
                 uint64_t id)
{
    int done = pn_future_is_done(mailbox->state, task);
    if (done < 0)
        return -1;
    if (done)
        return answer(mailbox, task, source, id);
    PyObject *replier = new_replier(mailbox, source, id);
    if (replier == NULL)
        return -1;
    PyObject *added = PyObject_CallMethodOneArg(
        task, mailbox->state->add_done_callback, replier);
    Py_DECREF(replier);
    if (added == NULL)
        return -1;
    Py_DECREF(added);
    return PySet_Add(mailbox->tasks, task);
}
