/* Where a message goes that has come: to its reader here, or onward. */
#include "base/status.h"
#include "python/future.h"
#include "python/mailbox.h"
#include "python/payload.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

PyObject *
pn_mailbox_text(const char *text, size_t size)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
}

/* Hand a message to port.control: kinds that Python decides on. */
static void
tell_control(MailboxObject *self, const pn_message *message)
{
    const pn_envelope *env = &message->env;
    PyObject *control = Py_NewRef(self->port.control);
    PyObject *result = PyObject_CallFunction(
        control, "iKKy#", (int)env->kind, (unsigned long long)env->source,
        (unsigned long long)env->id, (const char *)message->payload,
        (Py_ssize_t)message->size);
    Py_DECREF(control);
    if (result == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(result);
}

/* What unpickling a result raised, as its asker may see it: what would end a
 * program (SystemExit, say) becomes a RemoteError. Steals error. */
static PyObject *
tamed(MailboxObject *self, uint64_t source, PyObject *error)
{
    if (error == NULL ||
        PyObject_TypeCheck(error, (PyTypeObject *)PyExc_Exception))
        return error;
    const char *name = Py_TYPE(error)->tp_name;
    PyObject *remote = pn_mailbox_load_error(self, source, "unloadable", name,
                                             (Py_ssize_t)strlen(name));
    Py_DECREF(error);
    return remote != NULL ? remote : pn_take_exception();
}

static void
receive_reply(MailboxObject *self, const pn_message *message)
{
    PyObject *future = pn_pending_take(&self->pending, message->env.id);
    if (future == NULL)
        return; /* its asker was told already that the actor had ended */
    PyObject *value = pn_payload_load(self->state, self->port.loads,
                                      message->payload, message->size);
    bool failed = value == NULL;
    if (failed)
        value = tamed(self, message->env.source, pn_take_exception());
    pn_mailbox_resolve(self, future, failed, value);
    Py_XDECREF(value);
    Py_DECREF(future);
}

/* Fail ask id, if somebody waits for it: by a condition (NULL: an exception
 * is set), or by what port.load_error raised instead. */
static void
fail_ask(MailboxObject *self, const pn_envelope *env, const char *condition,
         const char *bytes, size_t size)
{
    PyObject *error = NULL;
    PyObject *future = pn_pending_take(&self->pending, env->id);
    if (future == NULL) {
        PyErr_Clear(); /* its asker was told already that the actor ended */
        return;
    }
    if (condition != NULL)
        error = pn_mailbox_load_error(self, env->source, condition, bytes,
                                      (Py_ssize_t)size);
    if (error == NULL)
        error = pn_take_exception();
    pn_mailbox_resolve(self, future, true, error);
    Py_XDECREF(error);
    Py_DECREF(future);
}

static void
receive_error(MailboxObject *self, const pn_message *message)
{
    const pn_envelope *env = &message->env;
    PyObject *text = pn_mailbox_text(env->command, env->command_size);
    fail_ask(self, env, text == NULL ? NULL : PyUnicode_AsUTF8(text),
             (const char *)message->payload, message->size);
    Py_XDECREF(text);
}

static int
receive_message(MailboxObject *self, pn_peer *peer, const pn_message *message)
{
    switch (message->env.kind) {
    case PN_ASK:
    case PN_TELL:
        pn_mailbox_run(self, message);
        return PN_OK;
    case PN_REPLY:
        receive_reply(self, message);
        return PN_OK;
    case PN_ERROR:
        receive_error(self, message);
        return PN_OK;
    case PN_BOUND:
        pn_pending_bind(&self->pending, message->env.id, message->env.source);
        return PN_OK;
    case PN_DOWN:
        pn_inbox_forget(&peer->link.in, message->env.id);
        tell_control(self, message);
        return PN_OK;
    default:
        tell_control(self, message);
        return PN_OK;
    }
}

/* A message for which there is no room is dropped alone; who waits for what
 * becomes of it hears so. */
static void
refuse_size(MailboxObject *self, const pn_envelope *env)
{
    char text[64]; /* PyBytes_FromFormat has no 64-bit numbers on 3.11 */
    (void)snprintf(text, sizeof text, "%llu bytes, limit %zu",
                   (unsigned long long)env->size, self->limits.message_bytes);
    if (env->kind == PN_REPLY || env->kind == PN_ERROR)
        fail_ask(self, env, "too-big", text, strlen(text));
    if (env->kind != PN_ASK)
        return;
    PyObject *size = PyBytes_FromString(text);
    if (size == NULL)
        pn_mailbox_report(self);
    pn_mailbox_reply_error(self, env->source, env->id, "too-big", size);
    Py_XDECREF(size);
}

/* --- relaying --- */

/* Only what actors say to each other passes the arbiter. */
static bool
may_be_relayed(uint8_t kind)
{
    return kind == PN_ASK || kind == PN_TELL || kind == PN_REPLY ||
           kind == PN_ERROR || kind == PN_DEFINE;
}

/* The two talk for the first time: each learns who the other is, and the end
 * of one will be told to the other. */
static void
introduce(MailboxObject *self, pn_route *source, pn_route *target)
{
    if (pn_router_note_talk(source, target) < 0)
        return;
    PyObject *call = Py_NewRef(self->port.introduce);
    PyObject *result =
        PyObject_CallFunction(call, "KK", (unsigned long long)target->number,
                              (unsigned long long)source->number);
    Py_DECREF(call);
    if (result == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(result);
}

/* Tell the asker which actor its ask to a name has gone to. */
static void
tell_bound(MailboxObject *self, pn_peer *peer, const pn_envelope *env)
{
    pn_envelope bound = {
        .kind = PN_BOUND,
        .source = env->target,
        .target = env->source,
        .id = env->id,
    };
    if (pn_mailbox_put(self, peer, &bound, (pn_ref){0}) < 0)
        pn_mailbox_report(self);
}

/* Whether too much waits already on the way to the target. Its asker hears
 * so; a tell is a dead letter. */
static bool
is_refused_for_room(MailboxObject *self, const pn_peer *to,
                    const pn_envelope *env)
{
    bool begins =
        env->offset == 0 && (env->kind == PN_ASK || env->kind == PN_TELL);
    if (!begins || !pn_outbox_full(&to->link.out))
        return false;
    if (env->kind == PN_TELL) {
        self->dead_letters++;
        return true;
    }
    char number[24];
    (void)snprintf(number, sizeof number, "%llu",
                   (unsigned long long)to->number);
    PyObject *payload = PyBytes_FromString(number);
    if (payload != NULL)
        pn_mailbox_reply_error(self, env->source, env->id, "mailbox-full",
                               payload);
    else
        pn_mailbox_report(self);
    Py_XDECREF(payload);
    return true;
}

static void
forward(MailboxObject *self, pn_peer *from, pn_route *target,
        const pn_part *part)
{
    const pn_envelope *env = &part->env;
    pn_route *source = pn_router_find(&self->router, from->number);
    uint64_t number = target->number;
    if (source != NULL && pn_map_get(&source->peers, number) == NULL) {
        introduce(self, source, target);
        target = pn_router_find(&self->router, number);
        if (target == NULL || from->lost) {
            pn_mailbox_refuse(self, env->source, env);
            return;
        }
    }
    pn_peer *to = target->link;
    if (to == NULL || is_refused_for_room(self, to, env)) {
        /* It is ending: its DOWN, which is to come, fails the ask. */
        if (to == NULL && env->kind == PN_TELL && env->offset == 0)
            self->dead_letters++;
        return;
    }
    int err = pn_outbox_put_frame(&to->link.out, part->raw, part->raw_size);
    if (err < 0)
        pn_mailbox_refuse(self, env->source, env);
    else if (pn_mailbox_schedule(self, to) < 0)
        pn_mailbox_report(self);
}

static int
relay(MailboxObject *self, pn_peer *from, pn_part *part)
{
    if (!may_be_relayed(part->env.kind))
        return PN_EPROTO;
    pn_route *target = pn_router_find(&self->router, part->env.target);
    if (target == NULL)
        pn_mailbox_refuse(self, part->env.source, &part->env);
    else
        forward(self, from, target, part);
    return PN_OK;
}

/* Replace the name of a target by its number, in the frame too. Without such
 * a name the target is 0, which is nobody's number. */
static void
resolve_name(MailboxObject *self, pn_peer *peer, pn_part *part)
{
    pn_envelope *env = &part->env;
    PyObject *name = pn_mailbox_text(env->name, env->name_size);
    PyObject *number =
        name == NULL ? NULL : PyDict_GetItemWithError(self->port.names, name);
    env->target = number == NULL ? 0 : PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        env->target = 0;
    }
    Py_XDECREF(name);
    size_t head = part->raw_size - part->size - pn_envelope_size(env);
    pn_envelope_encode(env, (uint8_t *)(uintptr_t)part->raw + head);
    if (env->target != 0 && env->kind == PN_ASK && env->offset == 0)
        tell_bound(self, peer, env);
}

/* The first frame of a link: a right hello, from a process of our user. */
static int
check_hello(const pn_peer *peer, const pn_part *part)
{
    pn_hello ours, theirs;
    if (part->env.kind != PN_HELLO)
        return PN_EAUTH;
    if (!peer->link.peer_known || peer->link.peer_uid != geteuid())
        return PN_EAUTH;
    int err = pn_hello_decode(&theirs, part->payload, part->size);
    if (err < 0)
        return err;
    pn_mailbox_hello(&ours);
    return pn_hello_agree(&ours, &theirs);
}

/* A hello that was right: Python learns who it is. */
static void
greet(MailboxObject *self, pn_peer *peer, const pn_part *part)
{
    pn_message message = {part->env, part->payload, part->size};
    peer->greeted = true;
    message.env.source = peer->number;
    message.env.id = (uint64_t)peer->link.peer_pid;
    tell_control(self, &message);
}

/* An actor speaks for itself only, and not as an arbiter; the arbiter passes
 * others' words. */
static bool
may_say(const pn_peer *peer, const pn_envelope *env)
{
    bool as_arbiter = env->kind == PN_STOP || env->kind == PN_BOUND ||
                      env->kind == PN_PEER || env->kind == PN_SPEC;
    return env->source == peer->number && (peer->local || !as_arbiter);
}

int
pn_mailbox_receive(MailboxObject *self, pn_peer *peer, pn_part *part)
{
    pn_message message;
    if (!peer->greeted) {
        int err = check_hello(peer, part);
        if (err == PN_OK)
            greet(self, peer, part);
        return err;
    }
    if (part->env.kind == PN_HELLO)
        return PN_EPROTO; /* once only */
    if (peer != self->onward && !may_say(peer, &part->env))
        return PN_EPROTO;
    if (part->env.named && self->onward == NULL)
        resolve_name(self, peer, part);
    bool here = part->env.target == self->number ||
                pn_kind_is_control(part->env.kind) || peer == self->onward;
    if (!here)
        return relay(self, peer, part);
    int err = pn_inbox_join(&peer->link.in, part, &message);
    if (err == PN_ETOOBIG || err == PN_ENOMEM)
        refuse_size(self, &part->env);
    else if (err == PN_OK)
        return receive_message(self, peer, &message);
    return err == PN_EPROTO ? err : PN_OK;
}
