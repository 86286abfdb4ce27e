/* Commands that others ask for: found, run, answered. */
#include "base/status.h"
#include "python/command.h"
#include "python/future.h"
#include "python/mailbox_defer.h"
#include "python/mailbox_flight.h"
#include "python/mailbox_fuse.h"
#include "python/mailbox_payload.h"
#include "python/metrics.h"
#include "python/replier.h"
#include "python/request.h"
#include "python/serializer.h"
#include "python/source.h"
#include "sys/clock.h"

/* While a batch runs, answers wait no longer than this for its end. */
#define GATHER_NS 100000

/* Arguments that fit beside the request on the C stack. */
#define FEW_ARGS 8

void
pn_mailbox_report(MailboxObject *self)
{
    PyErr_WriteUnraisable((PyObject *)self);
}

/* The exception that is set now ends the request. */
static void
fail_run(CellObject *cell, const pn_envelope *env)
{
    PyObject *error = pn_take_exception();
    if (error == NULL)
        return;
    cell->failed++;
    pn_mailbox_failed(cell, env->source, env->kind == PN_ASK ? env->id : 0,
                      error);
    Py_DECREF(error);
}

/* The same for one that runs its command. */
static void
fail_request(RequestObject *request, const pn_envelope *env)
{
    pn_metrics_end(request, pn_clock_now(), true);
    fail_run(request->cell, env);
}

/* --- running --- */

/* Before something that may take long: let no answer wait for it. */
static void
flush_before(MailboxObject *self, PyObject *command, int64_t now)
{
    if (self->dirty == NULL)
        return;
    int slow =
        PySet_Size(self->slow) > 0 ? PySet_Contains(self->slow, command) : 0;
    PyErr_Clear();
    if (slow != 0 || now - self->flushed_at > GATHER_NS)
        pn_mailbox_flush_dirty(self);
}

static PyObject *
call_many(PyObject *function, PyObject *request, PyObject *args,
          PyObject *kwargs)
{
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    PyObject *all = PyTuple_New(count + 1);
    if (all == NULL)
        return NULL;
    PyTuple_SET_ITEM(all, 0, Py_NewRef(request));
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    PyObject *result = PyObject_Call(function, all, kwargs);
    Py_DECREF(all);
    return result;
}

/* function(first, *args, **kwargs), in the context that is current. */
static PyObject *
call_function(PyObject *function, PyObject *first, PyObject *args,
              PyObject *kwargs)
{
    PyObject *stack[FEW_ARGS + 2] = {NULL, first};
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > FEW_ARGS || kwargs != NULL)
        return call_many(function, first, args, kwargs);
    for (Py_ssize_t i = 0; i < count; i++)
        stack[i + 2] = PyTuple_GET_ITEM(args, i);
    size_t flags = (size_t)(count + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    return PyObject_Vectorcall(function, stack + 1, flags, NULL);
}

static bool
is_awaitable(PyObject *value)
{
    if (PyCoro_CheckExact(value))
        return true;
    PyTypeObject *type = Py_TYPE(value);
    return type->tp_as_async != NULL && type->tp_as_async->am_await != NULL;
}

/* The arguments of a message: a tuple, or the list [tuple, dict]. New
 * references, for the list may change while the command runs. */
static int
split_arguments(PyObject *value, PyObject **args, PyObject **kwargs)
{
    PyObject *first = value, *second = NULL;
    if (PyList_CheckExact(value) && PyList_GET_SIZE(value) == 2) {
        first = PyList_GET_ITEM(value, 0);
        second = PyList_GET_ITEM(value, 1);
    }
    if (PyTuple_CheckExact(first) &&
        (second == NULL || PyDict_CheckExact(second))) {
        *args = Py_NewRef(first);
        *kwargs = Py_XNewRef(second);
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "arguments of a message are no tuple");
    return -1;
}

/* The arguments of a message: by reference, unpickled, or by the command's own
 * serializer, by which the answer goes, too. On failure what is set stays to
 * be dropped. */
static int
load_arguments(RequestObject *request, const BaseCommandObject *command,
               const pn_mail *mail, PyObject **args, PyObject **kwargs)
{
    PyObject *value = pn_mailbox_load(request->cell->mailbox, mail);
    int err = value == NULL ? -1 : split_arguments(value, args, kwargs);
    Py_XDECREF(value);
    if (err < 0 || mail->ext.encoding == 0)
        return err;
    request->serializer = pn_serializer_needed((PyObject *)command);
    return request->serializer == NULL
               ? -1
               : pn_serializer_load_all(request->serializer, args, kwargs);
}

/* Call a command with what it gets first, its request or its object. */
static PyObject *
call_command(RequestObject *request, const BaseCommandObject *command,
             PyObject *args, PyObject *kwargs)
{
    CellObject *cell = request->cell;
    PyObject *function = command->function, *first = (PyObject *)request;
    if (command->method && cell->instance != NULL)
        first = cell->instance;
    if (function == NULL) {
        PyErr_SetString(PyExc_TypeError, "the command has no function");
        return NULL;
    }
    PyObject *result;
    Py_INCREF(function);
    Py_INCREF(first);
    if (cell->mailbox->unbegun > 0)
        result = pn_mailbox_defer(request, command, first, args, kwargs);
    else
        result = call_function(function, first, args, kwargs);
    Py_DECREF(first);
    Py_DECREF(function);
    return result;
}

/* Set what the caller's context sent along. 0, or -1 with an exception. */
static int
unpack_baggage(const RequestObject *request)
{
    pn_state *state = request->cell->mailbox->state;
    if (request->baggage == NULL || state->load_baggage == NULL)
        return 0;
    PyObject *load = Py_NewRef(state->load_baggage);
    PyObject *done = PyObject_CallOneArg(load, request->baggage);
    Py_DECREF(load);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The context that was entered is a copy of the node's: for another actor
 * there it is to tell that one. 0, or -1 with an exception. */
static int
be_current(CellObject *cell)
{
    const MailboxObject *self = cell->mailbox;
    if (cell == self->main || cell->context != NULL)
        return 0;
    PyObject *token = PyContextVar_Set(self->state->current, (PyObject *)cell);
    Py_XDECREF(token);
    return token == NULL ? -1 : 0;
}

/* Call the command in a context of its own, in which the request is the
 * scope. */
static PyObject *
call_in_context(RequestObject *request, const BaseCommandObject *command,
                PyObject *context, const pn_mail *mail)
{
    MailboxObject *self = request->cell->mailbox;
    PyObject *args = NULL, *kwargs = NULL, *result = NULL;
    int err = load_arguments(request, command, mail, &args, &kwargs);
    if (err == 0 && PyContext_Enter(context) == 0) {
        PyObject *token =
            PyContextVar_Set(self->state->scope, (PyObject *)request);
        if (token != NULL && be_current(request->cell) == 0 &&
            unpack_baggage(request) == 0)
            result = call_command(request, command, args, kwargs);
        Py_XDECREF(token);
        if (PyContext_Exit(context) < 0)
            Py_CLEAR(result);
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return result;
}

/* A command gave an awaitable: run it as a task in the command's context. */
static void
start_task(RequestObject *request, const pn_envelope *env, PyObject *awaitable,
           PyObject *context)
{
    PyObject *start = Py_NewRef(request->cell->mailbox->port.start_task);
    PyObject *args[] = {awaitable, context};
    PyObject *task = PyObject_Vectorcall(start, args, 2, NULL);
    Py_DECREF(start);
    if (task == NULL || pn_replier_watch(request, task) < 0)
        fail_request(request, env);
    Py_XDECREF(task);
}

/* The command was asked for a stream: a task takes item by item from what it
 * gave, or from what that, awaited, gives. */
static void
start_stream(RequestObject *request, const pn_mail *mail, PyObject *items,
             PyObject *context)
{
    PyObject *coroutine = NULL;
    PyObject *source = pn_source_new(request, mail->ext.window);
    PyObject *drive = Py_NewRef(request->cell->mailbox->port.drive);
    if (source != NULL)
        coroutine = PyObject_CallFunctionObjArgs(drive, source, items, NULL);
    Py_DECREF(drive);
    Py_XDECREF(source);
    if (coroutine == NULL)
        fail_request(request, &mail->env);
    else
        start_task(request, &mail->env, coroutine, context);
    Py_XDECREF(coroutine);
}

/* The command gives a stream, which nobody has asked for. */
static void
refuse_stream(RequestObject *request, const pn_envelope *env,
              PyObject *command)
{
    PyErr_Format(request->cell->mailbox->state->command_error,
                 "the command %S gives a stream: ask for it by "
                 "pulsar_native.stream",
                 ((BaseCommandObject *)command)->name);
    fail_request(request, env);
}

/* The loop may call us in the context of whoever sends, so that is not what a
 * command sees: it gets a copy of the actor's own. */
static PyObject *
new_context(const CellObject *cell)
{
    const MailboxObject *self = cell->mailbox;
    PyObject *base = cell->context != NULL ? cell->context : self->context;
    return base != NULL ? PyContext_Copy(base) : PyContext_CopyCurrent();
}

/* A command gave its result: what becomes of that. */
static void
end_command(RequestObject *request, const pn_mail *mail, PyObject *command,
            PyObject *result, PyObject *context, int64_t now)
{
    if (mail->ext.window > 0 && request->id != 0) {
        start_stream(request, mail, result, context);
    } else if (pn_source_fits(result)) {
        refuse_stream(request, &mail->env, command);
    } else if (is_awaitable(result)) {
        start_task(request, &mail->env, result, context);
    } else {
        pn_metrics_end(request, now, false);
        if (mail->env.kind == PN_ASK)
            pn_mailbox_reply(request, result);
    }
}

static void
run_command(CellObject *cell, const pn_mail *mail, PyObject *op)
{
    MailboxObject *self = cell->mailbox;
    BaseCommandObject *command = (BaseCommandObject *)op;
    int64_t start = pn_clock_now(), end = start;
    flush_before(self, op, start);
    cell->handled++;
    PyObject *result = NULL, *context = NULL;
    RequestObject *request = pn_request_new(cell, mail);
    if (request != NULL) {
        pn_metrics_begin(request, op, start);
        context = new_context(cell);
    }
    bool told = context != NULL && pn_flight_begin(cell, &mail->env, start);
    if (context != NULL && pn_fuse_begin(request, command) == 0)
        result = call_in_context(request, command, context, mail);
    pn_fuse_end(request);
    pn_flight_end(self, told);
    if (result != NULL)
        end = pn_flight_clock(self);
    pn_mailbox_note_duration(self, op, end - start);
    if (result != NULL)
        end_command(request, mail, op, result, context, end);
    else if (request != NULL)
        fail_request(request, &mail->env);
    else
        fail_run(cell, &mail->env);
    Py_XDECREF(result);
    Py_XDECREF(context);
    Py_XDECREF(request);
}

/* --- finding --- */

/* The mark before the command's name (command.h), or 0. */
static char
mark_of(const pn_envelope *env)
{
    char first = env->command_size > 0 ? env->command[0] : 0;
    return first == PN_MARK_METHOD || first == PN_MARK_FUNCTION ? first : 0;
}

PyObject *
pn_mailbox_command_name(const pn_envelope *env)
{
    size_t skipped = mark_of(env) != 0 ? 1 : 0;
    return pn_mailbox_text(env->command + skipped,
                           env->command_size - skipped);
}

/* The command of this name, new reference; NULL without an exception if this
 * actor does not know it. */
static PyObject *
find_command(CellObject *cell, const pn_mail *mail)
{
    PyTypeObject *type = (PyTypeObject *)cell->mailbox->state->command_type;
    const pn_envelope *env = &mail->env;
    char mark = mark_of(env);
    bool methods = mark != PN_MARK_FUNCTION && cell->methods != NULL;
    if (!methods && mark != PN_MARK_METHOD && mail->known != NULL)
        return Py_NewRef(mail->known);
    PyObject *name = pn_mailbox_command_name(env);
    if (name == NULL)
        return NULL;
    PyObject *command = NULL;
    if (methods && PyDict_Check(cell->methods))
        command = Py_XNewRef(PyDict_GetItemWithError(cell->methods, name));
    if (command == NULL && mark != PN_MARK_METHOD && !PyErr_Occurred())
        command = PyObject_GetItem(cell->mailbox->port.table, name);
    Py_DECREF(name);
    if (command == NULL && PyErr_Occurred() &&
        PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Clear();
    if (command != NULL && !PyObject_TypeCheck(command, type))
        Py_CLEAR(command);
    return command;
}

/* The name of the command, and after a NUL that of the object's class. */
static PyObject *
describe_unknown(CellObject *cell, const pn_envelope *env)
{
    size_t skipped = mark_of(env) != 0 ? 1 : 0;
    PyObject *bytes = PyBytes_FromStringAndSize(
        env->command + skipped, (Py_ssize_t)(env->command_size - skipped));
    if (bytes == NULL || cell->instance == NULL)
        return bytes;
    const char *owner = Py_TYPE(cell->instance)->tp_name;
    PyBytes_ConcatAndDel(&bytes, PyBytes_FromFormat("%c%.200s", '\0', owner));
    return bytes;
}

static void
refuse_command(CellObject *cell, const pn_envelope *env)
{
    if (env->kind == PN_TELL) {
        pn_mailbox_lose_tell(cell, env, "unknown-command");
        return;
    }
    PyObject *what = describe_unknown(cell, env);
    if (what != NULL)
        pn_mailbox_reply_error(cell->mailbox, cell->number, env->source,
                               env->id, "unknown-command", what);
    else
        pn_mailbox_report(cell->mailbox);
    Py_XDECREF(what);
}

/* --- whether it may run --- */

/* Whether all that are under way wait for this ask, as far as its chain can
 * tell: it would wait for them for ever. */
static bool
is_deadlock(const CellObject *cell, const pn_extension *chain)
{
    uint32_t waiting = 0;
    for (size_t i = 0; i < chain->chain_count; i++)
        waiting += pn_extension_number(chain->chain, i) == cell->number;
    return pn_cell_is_busy(cell) && waiting >= cell->limits->max_inflight;
}

/* As many requests as may are under way. */
static void
hold_back(CellObject *cell, const pn_mail *mail)
{
    if (mail->env.kind == PN_ASK && is_deadlock(cell, &mail->ext))
        pn_mailbox_reply_error(cell->mailbox, cell->number, mail->env.source,
                               mail->env.id, "deadlock", NULL);
    else if (pn_cell_hold(cell, mail) < 0)
        fail_run(cell, &mail->env);
}

static bool
must_wait(const CellObject *cell)
{
    return pn_cell_is_busy(cell) || pn_cell_waiting(cell) > 0;
}

/* Whether nobody wants it any more. */
static bool
is_dropped(CellObject *cell, const pn_mail *mail)
{
    if (mail->env.kind == PN_ASK &&
        pn_mailbox_was_recalled(cell->mailbox, mail->env.source, mail->env.id))
        return true;
    if (mail->ext.deadline == 0 || pn_clock_now() < mail->ext.deadline)
        return false;
    cell->expired++;
    return true;
}

/* Run what may begin now. */
static void
begin(CellObject *cell, const pn_mail *mail)
{
    PyObject *command = find_command(cell, mail);
    if (command != NULL)
        run_command(cell, mail, command);
    else if (PyErr_Occurred())
        fail_run(cell, &mail->env);
    else
        refuse_command(cell, &mail->env);
    Py_XDECREF(command);
}

void
pn_mailbox_resume(CellObject *cell, const pn_mail *mail)
{
    if (!is_dropped(cell, mail))
        begin(cell, mail);
}

void
pn_mailbox_run(MailboxObject *self, const pn_mail *mail)
{
    CellObject *cell = pn_mailbox_cell(self, mail->env.target);
    if (cell == NULL || cell->gone || (cell->ending && cell != self->main)) {
        pn_mailbox_refuse(self, mail->env.source, &mail->env);
        return;
    }
    if (is_dropped(cell, mail))
        return;
    bool urgent = pn_mailbox_is_urgent(&mail->env);
    Py_INCREF(cell); /* it may end meanwhile */
    if (urgent)
        pn_mailbox_begin_drain(cell, &mail->env);
    if (!urgent && pn_mailbox_turns_away(cell, &mail->env))
        pn_mailbox_turn_away(cell, &mail->env);
    else if (!urgent && must_wait(cell))
        hold_back(cell, mail);
    else
        begin(cell, mail);
    Py_DECREF(cell);
}
