#include "python/replier.h"

#include "python/future.h"
#include "python/metrics.h"
#include "sys/clock.h"

typedef struct {
    PyObject_HEAD RequestObject *request; /* strong */
} ReplierObject;

static int
replier_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((ReplierObject *)op)->request);
    return 0;
}

static int
replier_clear(PyObject *op)
{
    Py_CLEAR(((ReplierObject *)op)->request);
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
answer(RequestObject *request, PyObject *task)
{
    CellObject *cell = request->cell;
    pn_state *state = cell->mailbox->state;
    PyObject *result = PyObject_CallMethodNoArgs(task, state->result);
    PyObject *error = result == NULL ? pn_take_exception() : NULL;
    /* What the actor's own end cancels is answered by its DOWN; who cancelled
     * an ask waits for no answer. */
    bool ended = error != NULL && (cell->ending || request->cancelled) &&
                 PyErr_GivenExceptionMatches(error, state->cancelled_error);
    pn_metrics_end(request, pn_clock_now(), error != NULL && !ended);
    if (result != NULL && request->id != 0 && !request->cancelled)
        pn_mailbox_reply(request, result);
    if (error != NULL && !ended) {
        cell->failed++;
        pn_mailbox_failed(cell, request->source, request->id, error);
    } else if (ended && !request->cancelled && request->id != 0 &&
               cell != cell->mailbox->main) {
        pn_mailbox_tell_end(cell, request->source, request->id);
    }
    Py_XDECREF(result);
    Py_XDECREF(error);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *
replier_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    RequestObject *request = ((ReplierObject *)op)->request;
    PyObject *task;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Replier takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:Replier", &task))
        return NULL;
    if (request == NULL || request->cell == NULL)
        Py_RETURN_NONE; /* being collected */
    Py_INCREF(request);
    CellObject *cell = (CellObject *)Py_NewRef((PyObject *)request->cell);
    pn_request_end(request);
    int err = cell->tasks == NULL || PySet_Discard(cell->tasks, task) >= 0
                  ? answer(request, task)
                  : -1;
    if (err == 0)
        pn_cell_advance(cell);
    Py_DECREF(cell);
    Py_DECREF(request);
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
new_replier(RequestObject *request)
{
    pn_state *state = request->cell->mailbox->state;
    PyTypeObject *type = (PyTypeObject *)state->replier_type;
    ReplierObject *self = (ReplierObject *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->request = (RequestObject *)Py_NewRef((PyObject *)request);
    return (PyObject *)self;
}

/* Nobody will hear of its end: it is over now. -1, with the exception that is
 * set. */
static int
forget_task(RequestObject *request, PyObject *task)
{
    CellObject *cell = request->cell;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    pn_request_end(request);
    if ((cell->tasks != NULL && PySet_Discard(cell->tasks, task) < 0) ||
        pn_cell_make_ready(cell) < 0)
        pn_mailbox_report(cell->mailbox);
    PyErr_Restore(type, value, traceback);
    return -1;
}

int
pn_replier_watch(RequestObject *request, PyObject *task)
{
    CellObject *cell = request->cell;
    pn_state *state = cell->mailbox->state;
    int done = pn_future_is_done(state, task);
    if (done < 0)
        return -1;
    if (done)
        return answer(request, task);
    PyObject *tasks = pn_cell_tasks(cell);
    if (tasks == NULL || pn_request_begin(request, task) < 0)
        return -1;
    PyObject *added = NULL, *replier = new_replier(request);
    if (replier != NULL && PySet_Add(tasks, task) == 0)
        added =
            PyObject_CallMethodOneArg(task, state->add_done_callback, replier);
    Py_XDECREF(replier);
    if (added == NULL)
        return forget_task(request, task);
    Py_DECREF(added);
    return 0;
}
