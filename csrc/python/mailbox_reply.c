/* Answers: results and failures on their way back to who asked. */
#include "base/status.h"
#include "python/cell.h"
#include "python/future.h"
#include "python/mailbox_payload.h"
#include "python/payload.h"
#include "python/request.h"
#include "python/serializer.h"

#include <stdio.h>
#include <string.h>

/* --- putting --- */

static void
put_answer(MailboxObject *self, const pn_envelope *env, pn_ref payload)
{
    pn_way way = {0};
    if (!self->closed)
        way = pn_mailbox_way(self, env->target);
    if (!pn_way_exists(way))
        pn_ref_release(&payload); /* the asker has gone */
    else if (pn_mailbox_put(self, way, env, payload) < 0)
        pn_mailbox_report(self);
}

void
pn_mailbox_reply_error(MailboxObject *self, uint64_t from, uint64_t source,
                       uint64_t id, const char *condition, PyObject *payload)
{
    pn_envelope env = {
        .kind = PN_ERROR,
        .source = from,
        .target = source,
        .id = id,
        .command = condition,
        .command_size = (uint16_t)strlen(condition),
    };
    pn_ref bytes = {0};
    if (payload != NULL && pn_payload_of(payload, &bytes) < 0)
        pn_mailbox_report(self); /* the condition goes without it */
    put_answer(self, &env, bytes);
}

pn_refusal
pn_mailbox_refusal(const MailboxObject *self, int err, uint64_t size)
{
    pn_refusal refusal = {.condition = "no-memory"};
    unsigned long long bytes = size;
    if (err == PN_ETOOBIG) {
        refusal.condition = "too-big";
        (void)snprintf(refusal.text, sizeof refusal.text,
                       "%llu bytes, limit %zu", bytes,
                       self->limits.message_bytes);
    } else
        (void)snprintf(refusal.text, sizeof refusal.text, "%llu bytes", bytes);
    return refusal;
}

void
pn_mailbox_say_refused(MailboxObject *self, uint64_t asker, uint64_t id,
                       const pn_refusal *refusal)
{
    PyObject *words = PyBytes_FromString(refusal->text);
    if (words == NULL)
        pn_mailbox_report(self);
    pn_mailbox_reply_error(self, self->number, asker, id, refusal->condition,
                           words);
    Py_XDECREF(words);
}

/* --- results --- */

/* Whether a value may go by reference: an immutable one to who is near. */
static bool
is_shared(pn_way way, const pn_envelope *env, PyObject *value)
{
    return way.box != NULL && way.box->node == pn_node_of(env->target) &&
           pn_letter_may_share(value);
}

static int
dump(MailboxObject *self, PyObject *value, pn_parcel *out)
{
    if (pn_parcel_dump(self->state, self->port.dumps, value, out) < 0)
        return -1;
    if (out->size <= self->limits.message_bytes)
        return 0;
    PyErr_Format(self->state->too_big,
                 "result takes %zu bytes, over the limit of %zu", out->size,
                 self->limits.message_bytes);
    pn_parcel_drop(out);
    return -1;
}

/* Put a value, with what ext says. 0, or -1 with an exception. */
static int
put_value(MailboxObject *self, pn_envelope *env, pn_extension *ext,
          PyObject *value, size_t *size)
{
    pn_parcel parcel;
    pn_way way = {0};
    if (!self->closed)
        way = pn_mailbox_way(self, env->target);
    if (is_shared(way, env, value)) {
        pn_extension_bytes room;
        *size = pn_letter_weigh(value);
        pn_mailbox_extend(env, ext, &room);
        return pn_mailbox_put_near(self, way.box, env, (pn_ref){0}, value,
                                   NULL);
    }
    if (dump(self, value, &parcel) < 0)
        return -1;
    *size = parcel.size;
    if (!self->closed) /* dumping may have run anybody's code */
        way = pn_mailbox_way(self, env->target);
    if (!self->closed && pn_way_exists(way))
        return pn_mailbox_put_parcel(self, way, env, ext, &parcel, NULL);
    pn_parcel_drop(&parcel); /* the asker has gone */
    return 0;
}

int
pn_mailbox_put_value(MailboxObject *self, pn_envelope *env, PyObject *value,
                     size_t *size)
{
    pn_extension ext = {0};
    return put_value(self, env, &ext, value, size);
}

/* What happened cannot be told: report why, and let nobody wait for it. */
static void
reply_untold(MailboxObject *self, uint64_t from, uint64_t source, uint64_t id)
{
    pn_mailbox_report(self);
    pn_mailbox_reply_error(self, from, source, id, "failed", NULL);
}

static void
reply_exception(MailboxObject *self, uint64_t from, uint64_t source,
                uint64_t id, PyObject *error)
{
    PyObject *dump = Py_NewRef(self->port.dump_error);
    PyObject *bytes = PyObject_CallOneArg(dump, error);
    Py_DECREF(dump);
    if (bytes != NULL && !PyBytes_CheckExact(bytes))
        PyErr_Format(PyExc_TypeError, "dump_error gave %s, not bytes",
                     Py_TYPE(bytes)->tp_name);
    if (PyErr_Occurred())
        reply_untold(self, from, source, id);
    else
        pn_mailbox_reply_error(self, from, source, id, "raised", bytes);
    Py_XDECREF(bytes);
}

void
pn_mailbox_reply(RequestObject *request, PyObject *result)
{
    size_t size;
    CellObject *cell = request->cell;
    pn_extension ext = {0};
    pn_envelope env = {
        .kind = PN_REPLY,
        .source = cell->number,
        .target = request->source,
        .id = request->id,
    };
    PyObject *sent = Py_NewRef(result);
    if (request->serializer != NULL) {
        ext.encoding = PN_SERIALIZED;
        Py_SETREF(sent, pn_serializer_dump(request->serializer, result));
    }
    int err = -1;
    if (sent != NULL)
        err = put_value(cell->mailbox, &env, &ext, sent, &size);
    Py_XDECREF(sent);
    if (err == 0)
        return;
    PyObject *error = pn_take_exception();
    pn_mailbox_failed(cell, request->source, request->id, error);
    Py_XDECREF(error);
}

void
pn_mailbox_refuse(MailboxObject *self, uint64_t source, const pn_envelope *env)
{
    if (env->kind == PN_TELL && env->offset == 0)
        pn_mailbox_lose_tell(self->main, env, NULL);
    if (env->kind != PN_ASK || env->offset > 0)
        return;
    const char *condition;
    PyObject *payload, *answer = NULL;
    PyObject *name = pn_mailbox_text(env->name, env->name_size);
    if (name != NULL)
        answer = pn_mailbox_explain(self, env->target, name);
    if (answer != NULL && PyArg_ParseTuple(answer, "sS", &condition, &payload))
        pn_mailbox_reply_error(self, self->number, source, env->id, condition,
                               payload);
    else
        reply_untold(self, self->number, source, env->id);
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

/* Tell Python of a cell's failure: call is a member of the port. */
static PyObject *
tell_port(PyObject *call, CellObject *cell, PyObject *error)
{
    Py_INCREF(call);
    PyObject *result =
        PyObject_CallFunctionObjArgs(call, (PyObject *)cell, error, NULL);
    Py_DECREF(call);
    return result;
}

void
pn_mailbox_tell_end(CellObject *cell, uint64_t source, uint64_t id)
{
    pn_envelope env = {.kind = PN_ASK, .target = cell->number, .id = id};
    pn_mailbox_refuse(cell->mailbox, source, &env);
}

void
pn_mailbox_failed(CellObject *cell, uint64_t source, uint64_t id,
                  PyObject *error)
{
    MailboxObject *self = cell->mailbox;
    PyObject *result;
    if (ends_actor(self->state, error)) {
        result = tell_port(self->port.fatal, cell, error);
        bool told = result != NULL;
        Py_XDECREF(result); /* what it raises goes up to the loop */
        if (told && id != 0 && cell != self->main)
            pn_mailbox_tell_end(cell, source, id);
        return;
    }
    if (id != 0) {
        reply_exception(self, cell->number, source, id, error);
        return;
    }
    /* A tell has nobody to hear of its failure but the log. */
    result = tell_port(self->port.failed, cell, error);
    if (result == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(result);
}
