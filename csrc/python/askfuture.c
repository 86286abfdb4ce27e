#include "python/askfuture.h"

#include "python/future.h"
#include "python/mailbox.h"

/* What follows asyncio.Future's own struct in each object. */
typedef struct {
    MailboxObject *mailbox; /* strong; NULL: not asked yet, or done */
    uint64_t id;
    PyObject *callback; /* the first one, until it is called or removed */
    PyObject *context;
    PyObject *serializer; /* of its result, or NULL */
    PyObject *next;       /* in a pn_askfutures */
    bool used;            /* it has had a first callback */
    bool done;
} ask_part;

static PyTypeObject *
base_of(PyObject *op)
{
    return Py_TYPE(op)->tp_base;
}

static ask_part *
part_of(PyObject *op)
{
    return (ask_part *)((char *)op + base_of(op)->tp_basicsize);
}

/* --- life --- */

PyObject *
pn_askfuture_new(pn_state *state, PyObject *keywords)
{
    PyTypeObject *type = (PyTypeObject *)state->askfuture_type;
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL && type->tp_init(op, state->no_arguments, keywords) < 0)
        Py_CLEAR(op);
    return op;
}

void
pn_askfuture_bind(PyObject *op, MailboxObject *mailbox, uint64_t id)
{
    ask_part *part = part_of(op);
    part->id = id;
    if (!part->done)
        Py_XSETREF(part->mailbox, (MailboxObject *)Py_NewRef(mailbox));
}

void
pn_askfuture_expect(PyObject *op, PyObject *serializer)
{
    Py_XSETREF(part_of(op)->serializer, Py_NewRef(serializer));
}

PyObject *
pn_askfuture_serializer(PyObject *op)
{
    return part_of(op)->serializer;
}

static int
askfuture_traverse(PyObject *op, visitproc visit, void *arg)
{
    ask_part *part = part_of(op);
    PyTypeObject *base = base_of(op);
    Py_VISIT(part->mailbox);
    Py_VISIT(part->callback);
    Py_VISIT(part->context);
    Py_VISIT(part->serializer);
    if (!PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE))
        Py_VISIT(Py_TYPE(op)); /* before 3.12 the base is static */
    return base->tp_traverse(op, visit, arg);
}

static void
clear_part(ask_part *part)
{
    Py_CLEAR(part->mailbox);
    Py_CLEAR(part->callback);
    Py_CLEAR(part->context);
    Py_CLEAR(part->serializer);
}

static int
askfuture_clear(PyObject *op)
{
    clear_part(part_of(op));
    return base_of(op)->tp_clear(op);
}

/* asyncio.Future's dealloc frees the object, and, where that is a heap type,
 * gives the type back. */
static void
askfuture_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op), *base = type->tp_base;
    if (PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    PyObject_GC_UnTrack(op);
    clear_part(part_of(op));
    base->tp_dealloc(op);
    if (!PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE))
        Py_DECREF(type);
}

/* --- callbacks --- */

/* Call a method of asyncio.Future on op with what a method of ours got. */
static PyObject *
call_base(PyObject *method, PyObject *op, PyObject *const *args,
          Py_ssize_t nargs, PyObject *names)
{
    PyObject *stack[4] = {op};
    Py_ssize_t count = nargs + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    if (count > 3) {
        PyErr_SetString(PyExc_TypeError, "too many arguments");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        stack[i + 1] = args[i];
    return PyObject_Vectorcall(method, stack, (size_t)nargs + 1, names);
}

static pn_state *
state_of(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

/* Leave the first callback to asyncio.Future too, ahead of those that come:
 * they are to be called in the order of adding. 0, or -1 with an exception. */
static int
hand_over(pn_state *state, PyObject *op)
{
    ask_part *part = part_of(op);
    PyObject *callback = part->callback, *context = part->context;
    if (callback == NULL)
        return 0;
    part->callback = part->context = NULL;
    PyObject *args[] = {callback, context};
    PyObject *added =
        call_base(state->future_add, op, args, 1, state->of_context);
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_XDECREF(added);
    return added == NULL ? -1 : 0;
}

static PyObject *
askfuture_add_done_callback(PyObject *op, PyTypeObject *type,
                            PyObject *const *args, Py_ssize_t nargs,
                            PyObject *names)
{
    pn_state *state = state_of(type);
    ask_part *part = part_of(op);
    Py_ssize_t count = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    bool known =
        nargs == 1 &&
        (count == 0 ||
         (count == 1 && PyUnicode_CompareWithASCIIString(
                            PyTuple_GET_ITEM(names, 0), "context") == 0));
    if (!known || part->done || part->used) {
        if (hand_over(state, op) < 0)
            return NULL;
        return call_base(state->future_add, op, args, nargs, names);
    }
    PyObject *context = count == 1 && args[1] != Py_None
                            ? Py_NewRef(args[1])
                            : PyContext_CopyCurrent();
    if (context == NULL)
        return NULL;
    part->used = true;
    part->callback = Py_NewRef(args[0]);
    part->context = context;
    Py_RETURN_NONE;
}

static PyObject *
askfuture_remove_done_callback(PyObject *op, PyTypeObject *type,
                               PyObject *const *args, Py_ssize_t nargs,
                               PyObject *names)
{
    pn_state *state = state_of(type);
    PyObject *removed =
        call_base(state->future_remove, op, args, nargs, names);
    if (removed == NULL || nargs < 1)
        return removed;
    PyObject *kept = Py_XNewRef(part_of(op)->callback);
    int same =
        kept == NULL ? 0 : PyObject_RichCompareBool(kept, args[0], Py_EQ);
    long count = PyLong_AsLong(removed);
    Py_DECREF(removed);
    if (same > 0 && part_of(op)->callback == kept) {
        Py_CLEAR(part_of(op)->callback);
        Py_CLEAR(part_of(op)->context);
        count++;
    }
    Py_XDECREF(kept);
    return same < 0 ? NULL : PyLong_FromLong(count);
}

/* Have the loop call callback(op) in the context. */
static int
call_soon(PyObject *op, PyObject *callback, PyObject *context)
{
    PyObject *done = NULL;
    PyObject *loop = PyObject_CallMethod(op, "get_loop", NULL);
    PyObject *method =
        loop == NULL ? NULL : PyObject_GetAttrString(loop, "call_soon");
    PyObject *args = Py_BuildValue("(OO)", callback, op);
    PyObject *names = Py_BuildValue("{sO}", "context", context);
    if (method != NULL && args != NULL && names != NULL)
        done = PyObject_Call(method, args, names);
    Py_XDECREF(names);
    Py_XDECREF(args);
    Py_XDECREF(method);
    Py_XDECREF(loop);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* A callback has raised what is set now: the loop tells of it, unless it is to
 * end the loop. */
static int
tell_loop(PyObject *op)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    PyObject *error = pn_take_exception();
    PyObject *loop = PyObject_CallMethod(op, "get_loop", NULL);
    PyObject *told = NULL;
    if (loop != NULL)
        told =
            PyObject_CallMethod(loop, "call_exception_handler", "({sssOsO})",
                                "message", "Exception in callback of an ask",
                                "exception", error, "future", op);
    Py_XDECREF(error);
    Py_XDECREF(loop);
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

int
pn_askfuture_wake(PyObject *op, bool now)
{
    ask_part *part = part_of(op);
    PyObject *callback = part->callback, *context = part->context;
    part->callback = part->context = NULL;
    if (callback == NULL)
        return 0;
    int err = 0;
    if (now && PyContext_Enter(context) == 0) {
        PyObject *result = PyObject_CallOneArg(callback, op);
        if (result == NULL)
            err = tell_loop(op);
        Py_XDECREF(result);
        if (PyContext_Exit(context) < 0)
            err = -1;
    } else {
        PyErr_Clear(); /* the context is in use further up */
        err = call_soon(op, callback, context);
    }
    Py_DECREF(callback);
    Py_XDECREF(context);
    return err;
}

/* --- becoming done --- */

int
pn_askfuture_settle(PyObject *op, bool failed, PyObject *value)
{
    ask_part *part = part_of(op);
    pn_state *state = state_of(Py_TYPE(op));
    if (part->done)
        return 0;
    part->done = true;
    PyObject *method =
        failed ? state->future_set_exception : state->future_set_result;
    PyObject *result = call_base(method, op, &value, 1, NULL);
    if (result == NULL) {
        PyObject *refusal = pn_take_exception();
        result = call_base(state->future_set_exception, op, &refusal, 1, NULL);
        Py_XDECREF(refusal);
    }
    Py_CLEAR(part->mailbox);
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    return part->callback != NULL ? 1 : 0;
}

/* What became done by a method of asyncio.Future wakes through the loop. */
static PyObject *
settled_by(PyObject *op, PyObject *result)
{
    if (result == NULL)
        return NULL;
    part_of(op)->done = true;
    if (pn_askfuture_wake(op, false) == 0)
        return result;
    Py_DECREF(result);
    return NULL;
}

static PyObject *
askfuture_set_result(PyObject *op, PyTypeObject *type, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *names)
{
    PyObject *method = state_of(type)->future_set_result;
    return settled_by(op, call_base(method, op, args, nargs, names));
}

static PyObject *
askfuture_set_exception(PyObject *op, PyTypeObject *type,
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *names)
{
    PyObject *method = state_of(type)->future_set_exception;
    return settled_by(op, call_base(method, op, args, nargs, names));
}

static PyObject *
askfuture_cancel(PyObject *op, PyTypeObject *type, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *names)
{
    ask_part *part = part_of(op);
    PyObject *method = state_of(type)->future_cancel;
    PyObject *result = call_base(method, op, args, nargs, names);
    if (result == NULL || PyObject_IsTrue(result) != 1)
        return result;
    PyObject *kind, *error, *traceback;
    MailboxObject *mailbox = part->mailbox;
    part->mailbox = NULL;
    result = settled_by(op, result);
    PyErr_Fetch(&kind, &error, &traceback);
    if (mailbox != NULL)
        pn_mailbox_cancel_ask(mailbox, part->id);
    Py_XDECREF(mailbox);
    PyErr_Restore(kind, error, traceback);
    return result;
}

/* --- lists --- */

void
pn_askfutures_add(pn_askfutures *list, PyObject *op)
{
    part_of(op)->next = NULL;
    if (list->last == NULL)
        list->first = Py_NewRef(op);
    else
        part_of(list->last)->next = Py_NewRef(op);
    list->last = op;
}

PyObject *
pn_askfutures_take(pn_askfutures *list)
{
    PyObject *op = list->first;
    if (op == NULL)
        return NULL;
    list->first = part_of(op)->next;
    part_of(op)->next = NULL;
    if (list->first == NULL)
        list->last = NULL;
    return op;
}

/* --- the type --- */

#define METHOD(name, function, text)                                          \
    {                                                                         \
        name, (PyCFunction)(void (*)(void))function,                          \
            METH_METHOD | METH_FASTCALL | METH_KEYWORDS, PyDoc_STR(text)      \
    }

static PyMethodDef methods[] = {
    METHOD("add_done_callback", askfuture_add_done_callback,
           "add_done_callback($self, fn, /, *, context=None)\n--\n\n"
           "As that of asyncio.Future."),
    METHOD("remove_done_callback", askfuture_remove_done_callback,
           "remove_done_callback($self, fn, /)\n--\n\n"
           "As that of asyncio.Future."),
    METHOD("set_result", askfuture_set_result,
           "set_result($self, result, /)\n--\n\n"
           "As that of asyncio.Future; the reply is then dropped."),
    METHOD("set_exception", askfuture_set_exception,
           "set_exception($self, exception, /)\n--\n\n"
           "As that of asyncio.Future; the reply is then dropped."),
    METHOD("cancel", askfuture_cancel,
           "cancel($self, msg=None)\n--\n\n"
           "Cancel, and let the target know; False if it is done."),
    {NULL, NULL, 0, NULL},
};

static PyObject *
askfuture_get_ask(PyObject *op, void *closure)
{
    (void)closure;
    ask_part *part = part_of(op);
    if (part->mailbox == NULL)
        Py_RETURN_NONE;
    return Py_BuildValue("OK", (PyObject *)part->mailbox,
                         (unsigned long long)part->id);
}

static PyGetSetDef getset[] = {
    {"_ask", askfuture_get_ask, NULL,
     "The mailbox that asked, and the number of the ask; None if it is done.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(doc,
             "AskFuture(*, loop)\n--\n\n"
             "A reply that is to come; cancelling it cancels what runs for "
             "it.");

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)doc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_traverse, askfuture_traverse},
    {Py_tp_clear, askfuture_clear},
    {Py_tp_dealloc, askfuture_dealloc},
    {0, NULL},
};

static int
look_up(pn_state *state, PyObject *base)
{
    struct {
        PyObject **member;
        const char *name;
    } names[] = {
        {&state->future_add, "add_done_callback"},
        {&state->future_remove, "remove_done_callback"},
        {&state->future_set_result, "set_result"},
        {&state->future_set_exception, "set_exception"},
        {&state->future_cancel, "cancel"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *names[i].member = PyObject_GetAttrString(base, names[i].name);
        if (*names[i].member == NULL)
            return -1;
    }
    state->no_arguments = PyTuple_New(0);
    state->of_context = Py_BuildValue("(s)", "context");
    return state->no_arguments == NULL || state->of_context == NULL ? -1 : 0;
}

/* Its size is known at run time only: the base's, and ours behind it. */
int
pn_add_askfuture(PyObject *module, pn_state *state)
{
    PyTypeObject *base = (PyTypeObject *)state->future;
    PyType_Spec spec = {
        .name = "pulsar_native._native.AskFuture",
        .basicsize = (int)(base->tp_basicsize + (Py_ssize_t)sizeof(ask_part)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
        .slots = slots,
    };
    if (look_up(state, state->future) < 0)
        return -1;
    state->askfuture_type =
        PyType_FromModuleAndSpec(module, &spec, state->future);
    if (state->askfuture_type == NULL)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->askfuture_type);
}
