/* What an actor sends: asks and tells. */
#include "base/status.h"
#include "python/cell.h"
#include "python/command.h"
#include "python/error.h"
#include "python/future.h"
#include "python/mailbox_park.h"
#include "python/mailbox_payload.h"
#include "python/mailbox_told.h"
#include "python/proxy.h"
#include "python/sending.h"
#include "python/serializer.h"
#include "python/sink.h"
#include "sys/clock.h"

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
        (void)pn_mailbox_unusable();
        return -1;
    }
    return 0;
}

PyObject *
pn_mailbox_unusable(void)
{
    PyErr_SetString(PyExc_RuntimeError, "the actor's mailbox is closed");
    return NULL;
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
    if (pn_sink_check(self->state, future)) {
        pn_sink_end((SinkObject *)future, failed ? value : NULL);
        return;
    }
    int woken = pn_askfuture_settle(future, failed, value);
    if (woken > 0 && self->busy)
        pn_askfutures_add(&self->woken, future);
    else if (woken > 0)
        woken = pn_askfuture_wake(future, false);
    if (woken < 0)
        pn_mailbox_report(self);
}

PyObject *
pn_mailbox_new_future(MailboxObject *self)
{
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the mailbox has no loop yet");
        return NULL;
    }
    return pn_askfuture_new(self->state, self->of_loop);
}

/* Turn the exception that is set into the future's own. 0; -1 if it is for the
 * caller now: a Ctrl-C, say. */
static int
failed_call(MailboxObject *self, PyObject *future)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *error = pn_take_exception();
    pn_mailbox_resolve(self, future, true, error);
    Py_XDECREF(error);
    return 0;
}

/* --- a message to send --- */

typedef struct {
    pn_envelope env;
    pn_extension ext;
    pn_way way;
    pn_parcel payload;
    PyObject *value;  /* in place of a payload; borrowed from the call */
    bool parked;      /* it may not be sent yet */
    PyObject *waiter; /* if parked, whose future is None later; or NULL */
    uint8_t chain[PN_CHAIN_LIMIT * sizeof(uint64_t)];
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
               pn_parcel *out)
{
    PyObject *value;
    if (PyDict_Size(kwargs) == 0)
        value = Py_NewRef(args);
    else
        value = Py_BuildValue("[OO]", args, kwargs);
    if (value == NULL)
        return -1;
    int err = pn_parcel_dump(self->state, self->port.dumps, value, out);
    Py_DECREF(value);
    if (err == 0 && out->size > self->limits.message_bytes) {
        PyErr_Format(self->state->too_big,
                     "arguments take %zu bytes, over the limit of %zu",
                     out->size, self->limits.message_bytes);
        pn_parcel_drop(out);
        err = -1;
    }
    return err;
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

/* Whether a node is in this process. */
static bool
is_near(MailboxObject *self, uint64_t node)
{
    pn_way way = pn_mailbox_way(self, node);
    return way.box != NULL && way.box->node == node;
}

/* See that the target's process knows the command, if it is of this one. */
static int
ship_commands(MailboxObject *self, const pn_sending *call)
{
    uint64_t node = pn_node_of(call->target);
    if (call->known == NULL || call->name != NULL || is_near(self, node))
        return 0;
    unsigned long long serial = ((BaseCommandObject *)call->known)->serial;
    uintptr_t shipped = (uintptr_t)pn_map_get(&self->shipped, node);
    if (serial == 0 || shipped > serial)
        return 0;
    PyObject *define = Py_NewRef(self->port.define);
    PyObject *latest = PyObject_CallFunction(
        define, "KK", (unsigned long long)node,
        shipped == 0 ? 0ULL : (unsigned long long)(shipped - 1));
    Py_DECREF(define);
    if (latest == NULL)
        return -1;
    serial = PyLong_AsUnsignedLongLong(latest);
    Py_DECREF(latest);
    if (PyErr_Occurred())
        return -1;
    return pn_mailbox_shipped(self, node, serial);
}

/* Whether the actor's link has gone and its end is still to be told: an ask
 * waits for that, to fail with the whole truth. */
static bool
is_ending(const MailboxObject *self, uint64_t number)
{
    return !self->closed &&
           pn_router_find(&self->router, pn_node_of(number)) != NULL;
}

/* What the message inherits of the scope in which it is sent. */
static void
inherit(uint8_t kind, const pn_sending *call, outgoing *out)
{
    const RequestObject *request = call->scope.request;
    int64_t ask_timeout = call->cell->limits->ask_timeout;
    pn_extension *ext = &out->ext;
    ext->deadline = call->scope.deadline;
    ext->encoding = call->serializer != NULL ? PN_SERIALIZED : 0;
    if (kind == PN_ASK && ask_timeout != 0 && call->window == 0 &&
        ext->deadline == 0 && !call->scope.chosen)
        ext->deadline = pn_clock_now() + ask_timeout;
    ext->window = call->window;
    if (call->scope.kill ||
        (call->known != NULL && ((BaseCommandObject *)call->known)->kill))
        ext->overdue = PN_OVERDUE_KILL;
    if (call->baggage != NULL) {
        ext->baggage = (const uint8_t *)PyBytes_AS_STRING(call->baggage);
        ext->baggage_size = (size_t)PyBytes_GET_SIZE(call->baggage);
    }
    if (request == NULL || request->cell != call->cell)
        return;
    if (request->chain_count > 0) {
        ext->chain = request->chain;
        ext->chain_count = request->chain_count;
    } else {
        ext->chain = out->chain;
        ext->chain_count =
            pn_extension_append(out->chain, 0, call->cell->number);
    }
}

static int
prepare_envelope(uint8_t kind, const pn_sending *call, outgoing *out)
{
    pn_envelope *env = &out->env;
    *env = (pn_envelope){
        .kind = kind,
        .source = call->cell->number,
        .target = call->target,
        .named = call->name != NULL,
    };
    if (pn_mailbox_set_text(&env->command, &env->command_size, call->command,
                            "command") < 0)
        return -1;
    return env->named ? pn_mailbox_set_text(&env->name, &env->name_size,
                                            call->name, "target")
                      : 0;
}

/* The arguments: by reference to who is near, if nobody can change them. */
static int
prepare_payload(MailboxObject *self, const pn_sending *call, outgoing *out)
{
    if (ship_commands(self, call) < 0)
        return -1;
    if (call->name == NULL && PyDict_GET_SIZE(call->kwargs) == 0 &&
        pn_letter_may_share(call->args) &&
        is_near(self, pn_node_of(call->target))) {
        out->value = call->args;
        return 0;
    }
    return dump_arguments(self, call->args, call->kwargs, &out->payload);
}

/* Find the way, and room on it. 0, or -1 with an exception. */
static int
find_way(MailboxObject *self, const pn_sending *call, outgoing *out)
{
    uint64_t target = call->target;
    if (!self->closed && !pn_mailbox_lacks(self, target))
        out->way = pn_mailbox_way(self, target);
    if (out->way.peer != NULL && pn_mailbox_is_full(self, out->way)) {
        pn_mailbox_flush_peer(self, out->way.peer);
        out->way = pn_mailbox_way(self, target);
    }
    if (!pn_way_exists(out->way)) {
        if (is_ending(self, target))
            return 0;
        if (out->env.kind == PN_TELL)
            pn_mailbox_lose_tell(call->cell, &out->env, NULL);
        pn_mailbox_raise_unreachable(self, target, call->name);
        return -1;
    }
    if (!pn_mailbox_is_full(self, out->way))
        return 0;
    pn_mailbox_raise(self, target, "mailbox-full", "", 0);
    return -1;
}

/* It is to be parked: see that it does not wait there for itself. */
static int
find_parking(MailboxObject *self, const pn_sending *call, outgoing *out)
{
    out->parked = true;
    if (out->env.kind != PN_ASK ||
        !pn_mailbox_is_parked_for_ever(self, call->target, &out->ext))
        return 0;
    pn_mailbox_raise(self, call->target, "deadlock", "", 0);
    return -1;
}

/* Fill *out. 0, or -1 with an exception and nothing to release. */
static int
prepare(MailboxObject *self, uint8_t kind, const pn_sending *call,
        outgoing *out)
{
    out->ext = (pn_extension){0};
    out->way = (pn_way){0};
    out->payload = (pn_parcel){0};
    out->value = NULL;
    out->parked = false;
    out->waiter = NULL;
    inherit(kind, call, out);
    if (out->ext.deadline != 0 && pn_clock_now() >= out->ext.deadline) {
        pn_mailbox_raise(self, call->target, "deadline", "", 0);
        return -1;
    }
    if (prepare_envelope(kind, call, out) < 0 ||
        prepare_payload(self, call, out) < 0)
        return -1;
    /* Dumping may have run anybody's code: only now look for the way. */
    int err = pn_mailbox_must_park(self, call->target)
                  ? find_parking(self, call, out)
                  : find_way(self, call, out);
    if (err == 0)
        return 0;
    pn_parcel_drop(&out->payload);
    return -1;
}

static int
park_prepared(MailboxObject *self, const pn_sending *call, outgoing *out)
{
    bool full;
    PyObject *known =
        is_near(self, pn_node_of(call->target)) ? call->known : NULL;
    int err = pn_mailbox_park(self, &out->env, &out->ext, &out->payload,
                              out->value, known, out->waiter, &full);
    if (err < 0 || !full)
        return err;
    pn_mailbox_raise(self, call->target, "mailbox-full", "", 0);
    return -1;
}

/* Put what was prepared on its way, if there still is one: what is for an
 * actor that is ending waits for its end. */
static int
put_prepared(MailboxObject *self, const pn_sending *call, outgoing *out)
{
    pn_extension_bytes room;
    if (out->parked)
        return park_prepared(self, call, out);
    if (!pn_way_exists(out->way)) {
        pn_parcel_drop(&out->payload);
        return 0;
    }
    PyObject *known = NULL;
    if (out->way.box != NULL && is_near(self, pn_node_of(call->target)))
        known = call->known;
    if (out->value == NULL)
        return pn_mailbox_put_parcel(self, out->way, &out->env, &out->ext,
                                     &out->payload, known);
    pn_mailbox_extend(&out->env, &out->ext, &room);
    return pn_mailbox_put_near(self, out->way.box, &out->env, (pn_ref){0},
                               out->value, known);
}

/* --- asking --- */

static int
put_ask(MailboxObject *self, const pn_sending *call, PyObject *future)
{
    outgoing out;
    if (prepare(self, PN_ASK, call, &out) < 0)
        return -1;
    int err = pn_pending_add(&self->pending, call->cell->number,
                             out.env.target, future, &out.env.id);
    if (err < 0) {
        pn_parcel_drop(&out.payload);
        (void)pn_raise_status(self->state, err);
        return -1;
    }
    Py_INCREF(future); /* the table's */
    uint64_t id = out.env.id;
    if (out.ext.overdue == PN_OVERDUE_KILL)
        pn_pending_mark(&self->pending, id);
    int64_t deadline = out.ext.deadline;
    if (pn_sink_check(self->state, future)) {
        ((SinkObject *)future)->id = id;
    } else {
        pn_askfuture_bind(future, self, id);
        if (call->serializer != NULL)
            pn_askfuture_expect(future, call->serializer);
    }
    if (put_prepared(self, call, &out) == 0 &&
        (deadline == 0 || pn_mailbox_set_deadline(self, id, deadline) == 0))
        return 0;
    Py_XDECREF((PyObject *)pn_pending_take(&self->pending, id));
    return -1;
}

/* The future is None at once, unless it is to wait for the message's way to
 * empty. What would wait for itself does not wait. */
static int
put_tell(MailboxObject *self, const pn_sending *call, PyObject *future)
{
    outgoing out;
    if (prepare(self, PN_TELL, call, &out) < 0)
        return -1;
    bool lost = !out.parked && !pn_way_exists(out.way);
    if (lost)
        pn_mailbox_lose_tell(call->cell, &out.env, "actor-down");
    if (out.parked &&
        !pn_mailbox_is_parked_for_ever(self, call->target, &out.ext))
        out.waiter = future;
    if (put_prepared(self, call, &out) < 0)
        return -1;
    if (lost || (out.parked && out.waiter == NULL))
        pn_mailbox_resolve(self, future, false, Py_None);
    else if (!out.parked)
        pn_mailbox_settle_told(self, call->target, future);
    return 0;
}

/* A future for the call: its reply, or None once a tell is accepted. Every
 * failure is the future's. */
static PyObject *
send_call(MailboxObject *self, pn_sending *call, bool ask)
{
    PyObject *future = pn_mailbox_new_future(self);
    if (future == NULL)
        return NULL;
    int err = pn_sending_serialize(call);
    if (err == 0)
        err = ask ? put_ask(self, call, future) : put_tell(self, call, future);
    if (err < 0 && failed_call(self, future) < 0)
        Py_CLEAR(future);
    return future;
}

int
pn_mailbox_ask(MailboxObject *self, const pn_sending *call, PyObject *waiter)
{
    return put_ask(self, call, waiter) < 0 ? failed_call(self, waiter) : 0;
}

/* --- methods --- */

PyObject *
pn_cell_put(CellObject *cell, PyObject *const *args, Py_ssize_t nargs,
            bool tell)
{
    pn_sending call;
    if (cell == NULL)
        return pn_mailbox_unusable();
    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError,
                        "takes (target, command, args: tuple, kwargs: dict)");
        return NULL;
    }
    if (pn_proxy_is_away(cell->mailbox->state, args[0]))
        return pn_mailbox_check(cell->mailbox) < 0
                   ? NULL
                   : pn_proxy_put_aside((PyObject *)cell, args, tell);
    if (pn_sending_begin(&call, cell, args) < 0)
        return NULL;
    bool ask = !tell &&
               (call.known == NULL || ((BaseCommandObject *)call.known)->ack);
    PyObject *future =
        send_call(cell->mailbox, &call, ask || call.lent != NULL);
    if (future != NULL && pn_sending_end_by(&call, future) < 0)
        Py_CLEAR(future);
    if (future != NULL && call.lent != NULL && !ask)
        future = pn_sending_told(&call, future);
    pn_sending_end(&call);
    return future;
}

PyObject *
pn_mailbox_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CellObject *cell = ((MailboxObject *)op)->main;
    return pn_cell_put(cell, args, nargs, false);
}

PyObject *
pn_mailbox_tell(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CellObject *cell = ((MailboxObject *)op)->main;
    return pn_cell_put(cell, args, nargs, true);
}
