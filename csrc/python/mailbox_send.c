/* What this actor sends: asks and tells. */
#include "base/status.h"
#include "python/command.h"
#include "python/error.h"
#include "python/future.h"
#include "python/mailbox.h"
#include "python/payload.h"
#include "python/proxy.h"

int
pn_mailbox_check(MailboxObject *self)
{
    if (self->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "not on the thread of the actor's loop: use "
                        "send_threadsafe");
        return -1;
    }
    if (self->closed) {
        PyErr_SetString(PyExc_RuntimeError, "the actor's mailbox is closed");
        return -1;
    }
    return 0;
}

void
pn_mailbox_hello(pn_hello *out)
{
    *out = (pn_hello){
        .wire = PN_WIRE_VERSION,
        .python = (uint16_t)(PY_VERSION_HEX >> 16),
        .package = PN_PACKAGE_VERSION,
    };
}

/* --- futures --- */

void
pn_mailbox_resolve(MailboxObject *self, PyObject *future, bool failed,
                   PyObject *value)
{
    if (pn_future_resolve(self->state, future, failed, value) < 0)
        pn_mailbox_report(self);
}

static PyObject *
new_future(MailboxObject *self)
{
    if (self->create_future == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the mailbox has no loop yet");
        return NULL;
    }
    PyObject *create = Py_NewRef(self->create_future);
    PyObject *future = PyObject_CallNoArgs(create);
    Py_DECREF(create);
    return future;
}

/* Turn the exception that is set into the future's own. */
static PyObject *
failed_future(MailboxObject *self, PyObject *future)
{
    PyObject *error = pn_take_exception();
    pn_mailbox_resolve(self, future, true, error);
    Py_XDECREF(error);
    return future;
}

/* --- a message to send --- */

/* What a caller wants sent. args and kwargs are borrowed, the rest owned. */
typedef struct {
    uint64_t target;
    PyObject *name; /* of a target that others must resolve, or NULL */
    PyObject *command;
    PyObject *known; /* the BaseCommand of that name here, or NULL */
    PyObject *args;
    PyObject *kwargs;
} sending;

typedef struct {
    pn_envelope env;
    pn_peer *peer;
    pn_ref payload;
} outgoing;

int
pn_mailbox_set_text(const char **text, uint16_t *size, PyObject *value,
                    const char *what)
{
    Py_ssize_t length;
    *text = PyUnicode_AsUTF8AndSize(value, &length);
    if (*text == NULL)
        return -1;
    if (length > PN_TEXT_LIMIT) {
        PyErr_Format(PyExc_ValueError,
                     "%s of %zd bytes is longer than the limit of %d", what,
                     length, PN_TEXT_LIMIT);
        return -1;
    }
    *size = (uint16_t)length;
    return 0;
}

/* Arguments travel as a tuple, or as [tuple, dict] if there are keywords. */
static int
dump_arguments(MailboxObject *self, PyObject *args, PyObject *kwargs,
               pn_ref *out)
{
    PyObject *value;
    if (PyDict_Size(kwargs) == 0)
        value = Py_NewRef(args);
    else
        value = Py_BuildValue("[OO]", args, kwargs);
    if (value == NULL)
        return -1;
    int err = pn_payload_dump(self->state, self->port.dumps, value, out);
    Py_DECREF(value);
    if (err == 0 && out->size > self->limits.message_bytes) {
        PyErr_Format(self->state->too_big,
                     "arguments take %zu bytes, over the limit of %zu",
                     out->size, self->limits.message_bytes);
        pn_ref_release(out);
        err = -1;
    }
    return err;
}

PyObject *
pn_mailbox_load_error(MailboxObject *self, uint64_t source,
                      const char *condition, const char *bytes,
                      Py_ssize_t size)
{
    PyObject *load = Py_NewRef(self->port.load_error);
    PyObject *error = PyObject_CallFunction(
        load, "Ksy#", (unsigned long long)source, condition, bytes, size);
    Py_DECREF(load);
    return error;
}

/* Raise what port.load_error makes of a condition met at home. */
static void
raise_condition(MailboxObject *self, uint64_t target, const char *condition,
                const char *bytes, Py_ssize_t size)
{
    PyObject *error =
        pn_mailbox_load_error(self, target, condition, bytes, size);
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

PyObject *
pn_mailbox_explain(MailboxObject *self, uint64_t target, PyObject *name)
{
    PyObject *explain = Py_NewRef(self->port.explain);
    PyObject *answer =
        PyObject_CallFunction(explain, "KO", (unsigned long long)target, name);
    Py_DECREF(explain);
    return answer;
}

static void
raise_unreachable(MailboxObject *self, uint64_t target, PyObject *name)
{
    PyObject *known = name == NULL ? PyUnicode_New(0, 0) : Py_NewRef(name);
    PyObject *answer = NULL;
    if (known != NULL)
        answer = pn_mailbox_explain(self, target, known);
    Py_XDECREF(known);
    const char *condition, *bytes;
    Py_ssize_t size;
    if (answer != NULL &&
        PyArg_ParseTuple(answer, "sy#", &condition, &bytes, &size))
        raise_condition(self, target, condition, bytes, size);
    Py_XDECREF(answer);
}

int
pn_mailbox_shipped(MailboxObject *self, uint64_t target,
                   unsigned long long serial)
{
    /* One more than the serial, so that it is never NULL. */
    uintptr_t value = serial < UINTPTR_MAX ? (uintptr_t)serial + 1 : serial;
    if (pn_map_put(&self->shipped, target, (void *)value) == PN_OK)
        return 0;
    PyErr_NoMemory();
    return -1;
}

/* See that the target knows the command, if it is of this process. */
static int
ship_commands(MailboxObject *self, const sending *call)
{
    if (call->known == NULL || call->name != NULL ||
        call->target == self->number)
        return 0;
    unsigned long long serial = ((BaseCommandObject *)call->known)->serial;
    uintptr_t shipped = (uintptr_t)pn_map_get(&self->shipped, call->target);
    if (serial == 0 || shipped > serial)
        return 0;
    PyObject *define = Py_NewRef(self->port.define);
    PyObject *latest = PyObject_CallFunction(
        define, "KK", (unsigned long long)call->target,
        shipped == 0 ? 0ULL : (unsigned long long)(shipped - 1));
    Py_DECREF(define);
    if (latest == NULL)
        return -1;
    serial = PyLong_AsUnsignedLongLong(latest);
    Py_DECREF(latest);
    if (PyErr_Occurred())
        return -1;
    return pn_mailbox_shipped(self, call->target, serial);
}

/* Whether the actor's link has gone and its end is still to be told: an ask
 * waits for that, to fail with the whole truth. */
static bool
is_ending(const MailboxObject *self, uint64_t number)
{
    return !self->closed && pn_router_find(&self->router, number) != NULL;
}

/* Fill *out. 0, or -1 with an exception and nothing to release. */
static int
prepare(MailboxObject *self, uint8_t kind, const sending *call, outgoing *out)
{
    pn_envelope *env = &out->env;
    *out = (outgoing){.env = {.kind = kind, .source = self->number}};
    env->target = call->target;
    env->named = call->name != NULL;
    if (pn_mailbox_set_text(&env->command, &env->command_size, call->command,
                            "command") < 0)
        return -1;
    if (env->named && pn_mailbox_set_text(&env->name, &env->name_size,
                                          call->name, "target") < 0)
        return -1;
    if (ship_commands(self, call) < 0 ||
        dump_arguments(self, call->args, call->kwargs, &out->payload) < 0)
        return -1;
    /* Dumping may have run anybody's code: only now look for the way. */
    out->peer = self->closed ? NULL : pn_mailbox_way(self, env->target);
    if (out->peer != NULL && pn_outbox_full(&out->peer->link.out)) {
        pn_mailbox_flush_peer(self, out->peer);
        out->peer = pn_mailbox_way(self, env->target);
    }
    if (out->peer == NULL && !is_ending(self, env->target))
        raise_unreachable(self, env->target, call->name);
    else if (out->peer != NULL && pn_outbox_full(&out->peer->link.out))
        raise_condition(self, env->target, "mailbox-full", "", 0);
    else
        return 0;
    pn_ref_release(&out->payload);
    return -1;
}

/* Put what was prepared on its way, if there still is one: what is for an
 * actor that is ending waits for its end. */
static int
put_prepared(MailboxObject *self, outgoing *out)
{
    if (out->peer != NULL)
        return pn_mailbox_put(self, out->peer, &out->env, out->payload);
    pn_ref_release(&out->payload);
    return 0;
}

/* --- asking --- */

static int
put_ask(MailboxObject *self, const sending *call, PyObject *future)
{
    outgoing out;
    if (prepare(self, PN_ASK, call, &out) < 0)
        return -1;
    int err =
        pn_pending_add(&self->pending, out.env.target, future, &out.env.id);
    if (err < 0) {
        pn_ref_release(&out.payload);
        (void)pn_raise_status(self->state, err);
        return -1;
    }
    Py_INCREF(future); /* the table's */
    if (put_prepared(self, &out) == 0)
        return 0;
    Py_XDECREF((PyObject *)pn_pending_take(&self->pending, out.env.id));
    return -1;
}

static int
put_tell(MailboxObject *self, const sending *call)
{
    outgoing out;
    if (prepare(self, PN_TELL, call, &out) < 0)
        return -1;
    if (out.peer == NULL)
        self->dead_letters++;
    return put_prepared(self, &out);
}

/* A future for the call: its reply, or None once a tell is accepted. Every
 * failure is the future's. */
static PyObject *
send_call(MailboxObject *self, const sending *call, bool ask)
{
    PyObject *future = new_future(self);
    if (future == NULL)
        return NULL;
    int err = ask ? put_ask(self, call, future) : put_tell(self, call);
    if (err < 0 && !PyErr_ExceptionMatches(PyExc_Exception)) {
        Py_DECREF(future); /* a Ctrl-C, say: it is for the caller now */
        return NULL;
    }
    if (err < 0)
        return failed_future(self, future);
    if (!ask)
        pn_mailbox_resolve(self, future, false, Py_None);
    return future;
}

/* --- what the callers give --- */

/* The number of a target, and for a name that is not known here 0 and that
 * name: call->name is a new reference, or NULL. */
static int
resolve(MailboxObject *self, PyObject *target, sending *call)
{
    PyTypeObject *proxy_type = (PyTypeObject *)self->state->proxy_type;
    if (PyObject_TypeCheck(target, proxy_type) &&
        ((BaseProxyObject *)target)->generation == self->state->generation) {
        call->target = ((BaseProxyObject *)target)->number;
        return 0;
    }
    PyObject *resolve = Py_NewRef(self->port.resolve);
    PyObject *found = PyObject_CallOneArg(resolve, target);
    Py_DECREF(resolve);
    if (found == NULL)
        return -1;
    PyObject *name = NULL;
    unsigned long long number = 0;
    int ok = PyArg_ParseTuple(found, "KO;a target", &number, &name);
    if (ok && name != Py_None)
        call->name = Py_NewRef(name);
    call->target = number;
    Py_DECREF(found);
    return ok ? 0 : -1;
}

/* The command: its object in the table, if it is known here, and its name. */
static int
look_up(MailboxObject *self, PyObject *command, sending *call)
{
    PyTypeObject *type = (PyTypeObject *)self->state->command_type;
    if (PyObject_TypeCheck(command, type)) {
        call->known = Py_NewRef(command);
        command = ((BaseCommandObject *)command)->name;
    } else if (PyUnicode_Check(command)) {
        call->known = PyDict_GetItemWithError(self->port.table, command);
        Py_XINCREF(call->known);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "a command is a name or a Command, not "
                     "%s",
                     Py_TYPE(command)->tp_name);
    }
    if (command == NULL)
        PyErr_SetString(PyExc_TypeError, "the command has no name");
    if (PyErr_Occurred())
        return -1;
    if (call->known != NULL) {
        call->command = Py_NewRef(command);
        return 0;
    }
    call->command = PyObject_CallMethodNoArgs(command, self->state->lower);
    if (call->command == NULL)
        return -1;
    call->known = PyDict_GetItemWithError(self->port.table, call->command);
    Py_XINCREF(call->known);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *
send(MailboxObject *self, PyObject *const *args, Py_ssize_t nargs, bool tell)
{
    if (nargs != 4 || !PyTuple_Check(args[2]) || !PyDict_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError,
                        "takes (target, command, args: tuple, kwargs: dict)");
        return NULL;
    }
    if (pn_mailbox_check(self) < 0)
        return NULL;
    PyObject *future = NULL;
    sending call = {.args = args[2], .kwargs = args[3]};
    if (resolve(self, args[0], &call) == 0 &&
        look_up(self, args[1], &call) == 0) {
        bool ask = !tell && (call.known == NULL ||
                             ((BaseCommandObject *)call.known)->ack);
        future = send_call(self, &call, ask);
    }
    Py_XDECREF(call.name);
    Py_XDECREF(call.command);
    Py_XDECREF(call.known);
    return future;
}

PyObject *
pn_mailbox_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return send((MailboxObject *)op, args, nargs, false);
}

PyObject *
pn_mailbox_tell(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return send((MailboxObject *)op, args, nargs, true);
}

PyObject *
pn_current_mailbox(PyObject *module, PyObject *unused)
{
    (void)unused;
    pn_state *state = PyModule_GetState(module);
    PyObject *value;
    if (PyContextVar_Get(state->current, NULL, &value) < 0)
        return NULL;
    if (value == NULL || value == Py_None)
        return value == NULL ? Py_NewRef(Py_None) : value;
    MailboxObject *self = (MailboxObject *)value;
    bool usable = Py_TYPE(value) == (PyTypeObject *)state->mailbox_type &&
                  !self->closed && self->thread == PyThread_get_thread_ident();
    PyObject *loop = NULL;
    if (usable)
        loop = PyObject_CallNoArgs(state->get_running_loop);
    if (usable && loop == NULL)
        PyErr_Clear(); /* no loop runs: no mailbox to use */
    usable = usable && loop == self->loop;
    Py_XDECREF(loop);
    if (usable)
        return value;
    Py_DECREF(value);
    Py_RETURN_NONE;
}
