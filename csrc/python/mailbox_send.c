/* What this actor sends: asks, tells, and messages of the other kinds. */
#include "base/status.h"
#include "python/command.h"
#include "python/error.h"
#include "python/future.h"
#include "python/mailbox.h"
#include "python/payload.h"

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

/* Resolve a future that waits in this mailbox; reports what fails. */
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
    if (self->create_future != NULL)
        return PyObject_CallNoArgs(self->create_future);
    PyErr_SetString(PyExc_RuntimeError, "the mailbox has no loop yet");
    return NULL;
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

typedef struct {
    pn_envelope env;
    pn_peer *peer;
    pn_ref payload;
} outgoing;

static int
set_text(const char **text, uint16_t *size, PyObject *value, const char *what)
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
    if (kwargs == Py_None || PyDict_Size(kwargs) == 0)
        value = Py_NewRef(args);
    else
        value = Py_BuildValue("[OO]", args, kwargs);
    if (value == NULL)
        return -1;
    int err = pn_payload_dump(self->state, self->port.dumps, value, out);
    Py_DECREF(value);
    if (err == 0 && out->size > self->limits.message_bytes) {
        PyErr_Format(PyExc_ValueError,
                     "arguments take %zu bytes, over the limit of %zu",
                     out->size, self->limits.message_bytes);
        pn_ref_release(out);
        err = -1;
    }
    return err;
}

/* Raise what port.load_error makes of a condition met at home. */
static void
raise_condition(MailboxObject *self, uint64_t target, const char *condition)
{
    PyObject *load = Py_NewRef(self->port.load_error);
    PyObject *error = PyObject_CallFunction(
        load, "Ksy", (unsigned long long)target, condition, "");
    Py_DECREF(load);
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

static void
raise_unreachable(MailboxObject *self, uint64_t target, PyObject *name)
{
    PyObject *explain = Py_NewRef(self->port.explain);
    PyObject *answer =
        PyObject_CallFunction(explain, "Ks", (unsigned long long)target,
                              name == Py_None ? "" : PyUnicode_AsUTF8(name));
    Py_DECREF(explain);
    const char *condition, *bytes;
    Py_ssize_t size;
    if (answer != NULL &&
        PyArg_ParseTuple(answer, "sy#", &condition, &bytes, &size)) {
        PyObject *load = Py_NewRef(self->port.load_error);
        PyObject *error = PyObject_CallFunction(
            load, "Ksy#", (unsigned long long)target, condition, bytes, size);
        Py_DECREF(load);
        if (error != NULL)
            PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_XDECREF(error);
    }
    Py_XDECREF(answer);
}

/* Whether this process has the commands ready that target will need. */
static int
ship_commands(MailboxObject *self, uint64_t target, PyObject *command)
{
    PyObject *known = PyDict_GetItemWithError(self->port.table, command);
    if (known == NULL)
        return PyErr_Occurred() ? -1 : 0;
    unsigned long long serial = ((BaseCommandObject *)known)->serial;
    uintptr_t shipped = (uintptr_t)pn_map_get(&self->shipped, target);
    if (serial == 0 || target == self->number || shipped > serial)
        return 0;
    PyObject *define = Py_NewRef(self->port.define);
    PyObject *latest = PyObject_CallFunction(
        define, "KK", (unsigned long long)target,
        shipped == 0 ? 0ULL : (unsigned long long)(shipped - 1));
    Py_DECREF(define);
    if (latest == NULL)
        return -1;
    serial = PyLong_AsUnsignedLongLong(latest);
    Py_DECREF(latest);
    if (PyErr_Occurred())
        return -1;
    if (pn_map_put(&self->shipped, target, (void *)(uintptr_t)(serial + 1)) <
        0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Fill *out from the arguments (target, name or None, command, args, kwargs
 * or None). 0, or -1 with an exception and nothing to release. */
static int
prepare(MailboxObject *self, uint8_t kind, PyObject *const *args,
        outgoing *out)
{
    pn_envelope *env = &out->env;
    *out = (outgoing){.env = {.kind = kind, .source = self->number}};
    env->target = PyLong_AsUnsignedLongLong(args[0]);
    if (PyErr_Occurred() ||
        set_text(&env->command, &env->command_size, args[2], "command") < 0)
        return -1;
    env->named = args[1] != Py_None;
    if (env->named &&
        set_text(&env->name, &env->name_size, args[1], "target") < 0)
        return -1;
    if (!env->named && ship_commands(self, env->target, args[2]) < 0)
        return -1;
    if (dump_arguments(self, args[3], args[4], &out->payload) < 0)
        return -1;
    /* Dumping may have run anybody's code: only now look for the way. */
    out->peer = self->closed ? NULL : pn_mailbox_way(self, env->target);
    if (out->peer == NULL)
        raise_unreachable(self, env->target, args[1]);
    else if (pn_outbox_full(&out->peer->link.out))
        raise_condition(self, env->target, "mailbox-full");
    else
        return 0;
    pn_ref_release(&out->payload);
    return -1;
}

static int
check_call(MailboxObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 5 || !PyUnicode_Check(args[2]) || !PyTuple_Check(args[3]) ||
        (args[1] != Py_None && !PyUnicode_Check(args[1])) ||
        (args[4] != Py_None && !PyDict_Check(args[4]))) {
        PyErr_SetString(PyExc_TypeError,
                        "takes (target: int, name: str | None, command: str, "
                        "args: tuple, kwargs: dict | None)");
        return -1;
    }
    return pn_mailbox_check(self);
}

static int
send_ask(MailboxObject *self, PyObject *const *args, PyObject *future)
{
    outgoing out;
    if (prepare(self, PN_ASK, args, &out) < 0)
        return -1;
    int err =
        pn_pending_add(&self->pending, out.env.target, future, &out.env.id);
    if (err < 0) {
        pn_ref_release(&out.payload);
        (void)pn_raise_status(self->state, err);
        return -1;
    }
    Py_INCREF(future); /* the table's */
    if (pn_mailbox_put(self, out.peer, &out.env, out.payload) == 0)
        return 0;
    Py_XDECREF((PyObject *)pn_pending_take(&self->pending, out.env.id));
    return -1;
}

PyObject *
pn_mailbox_ask(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    MailboxObject *self = (MailboxObject *)op;
    if (check_call(self, args, nargs) < 0)
        return NULL;
    PyObject *future = new_future(self);
    if (future == NULL)
        return NULL;
    if (send_ask(self, args, future) < 0)
        return failed_future(self, future);
    return future;
}

PyObject *
pn_mailbox_tell(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    MailboxObject *self = (MailboxObject *)op;
    outgoing out;
    if (check_call(self, args, nargs) < 0 ||
        prepare(self, PN_TELL, args, &out) < 0 ||
        pn_mailbox_put(self, out.peer, &out.env, out.payload) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *
pn_mailbox_post(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind",   "target", "payload", "command",
                            "source", "id",     NULL};
    MailboxObject *self = (MailboxObject *)op;
    unsigned char kind;
    unsigned long long target, source = self->number, id = 0;
    PyObject *payload, *command = NULL;
    pn_envelope env = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "bKS|U$KK:post", names,
                                     &kind, &target, &payload, &command,
                                     &source, &id) ||
        pn_mailbox_check(self) < 0)
        return NULL;
    if (command != NULL &&
        set_text(&env.command, &env.command_size, command, "command") < 0)
        return NULL;
    pn_peer *peer = pn_mailbox_way(self, target);
    if (peer == NULL || peer->lost)
        Py_RETURN_FALSE;
    env.kind = kind;
    env.target = target;
    env.source = source;
    env.id = id;
    if (pn_mailbox_put(self, peer, &env, pn_payload_of(payload)) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

PyObject *
pn_mailbox_fail(PyObject *op, PyObject *args)
{
    MailboxObject *self = (MailboxObject *)op;
    PyObject *number, *make;
    if (!PyArg_ParseTuple(args, "OO:fail", &number, &make))
        return NULL;
    bool all = number == Py_None;
    uint64_t target = all ? 0 : PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    Py_ssize_t count = 0;
    pn_waiter *list = pn_pending_take_target(&self->pending, target, all);
    while (list != NULL) {
        pn_waiter *waiter = list;
        list = waiter->next;
        PyObject *future = waiter->object;
        pn_pending_recycle(&self->pending, waiter);
        PyObject *error = PyObject_CallNoArgs(make);
        if (error != NULL)
            pn_mailbox_resolve(self, future, true, error);
        else
            pn_mailbox_report(self);
        Py_XDECREF(error);
        Py_DECREF(future);
        count++;
    }
    return PyLong_FromSsize_t(count);
}
