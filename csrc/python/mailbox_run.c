/* Commands that others ask for: found, run, answered. */
#include "base/status.h"
#include "python/command.h"
#include "python/future.h"
#include "python/mailbox.h"
#include "python/payload.h"
#include "python/replier.h"
#include "python/request.h"
#include "sys/clock.h"

/* A command that took this long is slow: what was answered before it leaves
 * before it runs again. */
#define SLOW_NS 500000

/* While a batch runs, answers wait no longer than this for its end. */
#define GATHER_NS 100000

/* Arguments that fit beside the request on the C stack. */
#define FEW_ARGS 8

void
pn_mailbox_report(MailboxObject *self)
{
    PyErr_WriteUnraisable((PyObject *)self);
}

/* --- answers --- */

static void
put_answer(MailboxObject *self, uint64_t source, const pn_envelope *env,
           pn_ref payload)
{
    pn_peer *peer = self->closed ? NULL : pn_mailbox_way(self, source);
    if (peer == NULL)
        pn_ref_release(&payload); /* the asker has gone */
    else if (pn_mailbox_put(self, peer, env, payload) < 0)
        pn_mailbox_report(self);
}

void
pn_mailbox_reply_error(MailboxObject *self, uint64_t source, uint64_t id,
                       const char *condition, PyObject *payload)
{
    pn_envelope env = {
        .kind = PN_ERROR,
        .source = self->number,
        .target = source,
        .id = id,
        .command = condition,
        .command_size = (uint16_t)strlen(condition),
    };
    pn_ref bytes = {0};
    if (payload != NULL && pn_payload_of(payload, &bytes) < 0)
        pn_mailbox_report(self); /* the condition goes without it */
    put_answer(self, source, &env, bytes);
}

/* What happened cannot be told: report why, and let nobody wait for it. */
static void
reply_untold(MailboxObject *self, uint64_t source, uint64_t id)
{
    pn_mailbox_report(self);
    pn_mailbox_reply_error(self, source, id, "failed", NULL);
}

static void
reply_exception(MailboxObject *self, uint64_t source, uint64_t id,
                PyObject *error)
{
    PyObject *dump = Py_NewRef(self->port.dump_error);
    PyObject *bytes = PyObject_CallOneArg(dump, error);
    Py_DECREF(dump);
    if (bytes != NULL && !PyBytes_CheckExact(bytes))
        PyErr_Format(PyExc_TypeError, "dump_error gave %s, not bytes",
                     Py_TYPE(bytes)->tp_name);
    if (PyErr_Occurred())
        reply_untold(self, source, id);
    else
        pn_mailbox_reply_error(self, source, id, "raised", bytes);
    Py_XDECREF(bytes);
}

/* Answer with the exception that is set now, which is cleared. */
static void
reply_raised(MailboxObject *self, uint64_t source, uint64_t id)
{
    PyObject *error = pn_take_exception();
    if (error != NULL)
        reply_exception(self, source, id, error);
    Py_XDECREF(error);
}

void
pn_mailbox_reply(MailboxObject *self, uint64_t source, uint64_t id,
                 PyObject *result)
{
    pn_ref payload = {0};
    if (pn_payload_dump(self->state, self->port.dumps, result, &payload) < 0) {
        PyObject *error = pn_take_exception();
        pn_mailbox_failed(self, source, id, error);
        Py_XDECREF(error);
        return;
    }
    if (payload.size > self->limits.message_bytes) {
        PyErr_Format(self->state->too_big,
                     "result takes %zu bytes, over the limit of %zu",
                     payload.size, self->limits.message_bytes);
        pn_ref_release(&payload);
        reply_raised(self, source, id);
        return;
    }
    pn_envelope env = {
        .kind = PN_REPLY,
        .source = self->number,
        .target = source,
        .id = id,
    };
    put_answer(self, source, &env, payload);
}

void
pn_mailbox_refuse(MailboxObject *self, uint64_t source, const pn_envelope *env)
{
    if (env->kind == PN_TELL && env->offset == 0)
        self->dead_letters++;
    if (env->kind != PN_ASK || env->offset > 0)
        return;
    const char *condition;
    PyObject *payload, *answer = NULL;
    PyObject *name = pn_mailbox_text(env->name, env->name_size);
    if (name != NULL)
        answer = pn_mailbox_explain(self, env->target, name);
    if (answer != NULL && PyArg_ParseTuple(answer, "sS", &condition, &payload))
        pn_mailbox_reply_error(self, source, env->id, condition, payload);
    else
        reply_untold(self, source, env->id);
    Py_XDECREF(answer);
    Py_XDECREF(name);
}

/* --- failures of commands --- */

/* What leaves a command goes to the caller, except what ends an actor:
 * BaseExceptions that are neither Exception nor asyncio's or a generator's
 * own way to stop. */
static bool
ends_actor(pn_state *state, PyObject *error)
{
    return !PyObject_TypeCheck(error, (PyTypeObject *)PyExc_Exception) &&
           !PyErr_GivenExceptionMatches(error, state->cancelled_error) &&
           !PyErr_GivenExceptionMatches(error, PyExc_GeneratorExit);
}

/* A tell has nobody to hear of its failure but the log. */
static void
log_failure(MailboxObject *self, PyObject *error)
{
    PyObject *log = Py_NewRef(self->port.failed);
    PyObject *result = PyObject_CallOneArg(log, error);
    Py_DECREF(log);
    if (result == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(result);
}

void
pn_mailbox_failed(MailboxObject *self, uint64_t source, uint64_t id,
                  PyObject *error)
{
    if (!ends_actor(self->state, error)) {
        if (id != 0)
            reply_exception(self, source, id, error);
        else
            log_failure(self, error);
        return;
    }
    PyObject *fatal = Py_NewRef(self->port.fatal);
    PyObject *result = PyObject_CallOneArg(fatal, error);
    Py_DECREF(fatal);
    Py_XDECREF(result); /* what it raises goes up to the loop */
}

static void
fail_run(MailboxObject *self, const pn_envelope *env)
{
    PyObject *error = pn_take_exception();
    if (error == NULL)
        return;
    pn_mailbox_failed(self, env->source, env->kind == PN_ASK ? env->id : 0,
                      error);
    Py_DECREF(error);
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

static void
note_duration(MailboxObject *self, PyObject *command, int64_t duration)
{
    if (duration > SLOW_NS && PySet_Add(self->slow, command) < 0)
        PyErr_Clear();
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

/* function(request, *args, **kwargs), in the context that is current. */
static PyObject *
call_function(PyObject *function, PyObject *request, PyObject *args,
              PyObject *kwargs)
{
    PyObject *stack[FEW_ARGS + 2] = {NULL, request};
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > FEW_ARGS || kwargs != NULL)
        return call_many(function, request, args, kwargs);
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

/* Call the command in a context of its own. */
static PyObject *
call_in_context(MailboxObject *self, PyObject *function, PyObject *context,
                const pn_message *message)
{
    PyObject *args = NULL, *kwargs = NULL;
    PyObject *result = NULL, *request = NULL;
    PyObject *value = pn_payload_load(self->state, self->port.loads,
                                      message->payload, message->size);
    if (value == NULL || split_arguments(value, &args, &kwargs) < 0)
        goto done;
    request = pn_request_new(self, message->env.source);
    if (request == NULL || PyContext_Enter(context) < 0)
        goto done;
    /* Before 3.12 a task begins in a later iteration: what came behind it
     * must not begin before it, so it becomes a task too. */
    if (self->unbegun > 0)
        result = PyObject_CallFunctionObjArgs(
            self->port.defer, function, request, args,
            kwargs == NULL ? Py_None : kwargs, NULL);
    else
        result = call_function(function, request, args, kwargs);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
done:
    Py_XDECREF(value);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(request);
    return result;
}

/* A command gave an awaitable: run it as a task in the command's context. */
static void
start_task(MailboxObject *self, const pn_envelope *env, PyObject *awaitable,
           PyObject *context)
{
    PyObject *start = Py_NewRef(self->port.start_task);
    PyObject *args[] = {awaitable, context};
    PyObject *task = PyObject_Vectorcall(start, args, 2, NULL);
    Py_DECREF(start);
    if (task == NULL ||
        pn_replier_watch(self, task, env->source,
                         env->kind == PN_ASK ? env->id : 0) < 0)
        fail_run(self, env);
    Py_XDECREF(task);
}

/* The loop may call us in the context of whoever sends, so that is not what a
 * command sees. */
static PyObject *
new_context(MailboxObject *self)
{
    return self->context != NULL ? PyContext_Copy(self->context)
                                 : PyContext_CopyCurrent();
}

static void
run_function(MailboxObject *self, const pn_message *message, PyObject *command)
{
    const pn_envelope *env = &message->env;
    int64_t start = pn_clock_now();
    flush_before(self, command, start);
    self->handled++;
    PyObject *result = NULL;
    PyObject *function = Py_XNewRef(((BaseCommandObject *)command)->function);
    PyObject *context = new_context(self);
    if (context != NULL && function == NULL)
        PyErr_SetString(PyExc_TypeError, "the command has no function");
    else if (context != NULL)
        result = call_in_context(self, function, context, message);
    Py_XDECREF(function);
    note_duration(self, command, result == NULL ? 0 : pn_clock_now() - start);
    if (result == NULL)
        fail_run(self, env);
    else if (is_awaitable(result))
        start_task(self, env, result, context);
    else if (env->kind == PN_ASK)
        pn_mailbox_reply(self, env->source, env->id, result);
    Py_XDECREF(result);
    Py_XDECREF(context);
}

/* The command of this name, new reference; NULL without an exception if this
 * process does not know it. */
static PyObject *
find_command(MailboxObject *self, const pn_envelope *env)
{
    PyObject *name = pn_mailbox_text(env->command, env->command_size);
    if (name == NULL)
        return NULL;
    PyObject *command = PyObject_GetItem(self->port.table, name);
    Py_DECREF(name);
    if (command == NULL && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Clear();
    return command;
}

void
pn_mailbox_run(MailboxObject *self, const pn_message *message)
{
    const pn_envelope *env = &message->env;
    PyObject *command = find_command(self, env);
    if (command != NULL &&
        PyObject_TypeCheck(command,
                           (PyTypeObject *)self->state->command_type)) {
        run_function(self, message, command);
    } else if (PyErr_Occurred()) {
        fail_run(self, env);
    } else if (env->kind == PN_TELL) {
        self->dead_letters++;
    } else {
        PyObject *name = PyBytes_FromStringAndSize(
            env->command, (Py_ssize_t)env->command_size);
        if (name != NULL)
            pn_mailbox_reply_error(self, env->source, env->id,
                                   "unknown-command", name);
        else
            pn_mailbox_report(self);
        Py_XDECREF(name);
    }
    Py_XDECREF(command);
}
