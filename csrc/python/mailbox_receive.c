/* Where a message goes that has come: to its reader here, or onward. */
#include "base/status.h"
#include "python/askfuture.h"
#include "python/cell.h"
#include "python/future.h"
#include "python/mailbox_direct.h"
#include "python/mailbox_flight.h"
#include "python/mailbox_fuse.h"
#include "python/mailbox_park.h"
#include "python/mailbox_payload.h"
#include "python/serializer.h"
#include "python/sink.h"
#include "python/source.h"

#include <string.h>
#include <unistd.h>

PyObject *
pn_mailbox_text(const char *text, size_t size)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
}

/* Hand a message to port.control: kinds that Python decides on. */
static void
tell_control(MailboxObject *self, const pn_mail *message)
{
    const pn_envelope *env = &message->env;
    PyObject *control = Py_NewRef(self->port.control);
    const char *bytes =
        message->size == 0 ? "" : (const char *)message->payload;
    PyObject *result = PyObject_CallFunction(
        control, "iKKy#", (int)env->kind, (unsigned long long)env->source,
        (unsigned long long)env->id, bytes, (Py_ssize_t)message->size);
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

/* The result of an ask whose future this is. */
static PyObject *
load_result(MailboxObject *self, const pn_mail *message, PyObject *future)
{
    if (pn_sink_check(self->state, future))
        return Py_NewRef(Py_None); /* the end of a stream says no more */
    PyObject *value = pn_mailbox_load(self, message);
    if (value == NULL || message->ext.encoding == 0)
        return value;
    PyObject *serializer = Py_XNewRef(pn_askfuture_serializer(future));
    PyObject *result = NULL;
    if (serializer == NULL)
        PyErr_SetString(PyExc_TypeError,
                        "a result came serialized that was not asked so");
    else
        result = pn_serializer_load(serializer, value);
    Py_XDECREF(serializer);
    Py_DECREF(value);
    return result;
}

static void
receive_reply(MailboxObject *self, const pn_mail *message)
{
    PyObject *future = pn_pending_take(&self->pending, message->env.id);
    if (future == NULL)
        return; /* its asker was told already that the actor had ended */
    PyObject *value = load_result(self, message, future);
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
receive_error(MailboxObject *self, const pn_mail *message)
{
    const pn_envelope *env = &message->env;
    PyObject *text = pn_mailbox_text(env->command, env->command_size);
    fail_ask(self, env, text == NULL ? NULL : PyUnicode_AsUTF8(text),
             (const char *)message->payload, message->size);
    Py_XDECREF(text);
}

/* An ask to a name has gone to this actor. One that was cancelled meanwhile
 * is not wanted there, and may cost what runs for it. */
static void
receive_bound(MailboxObject *self, const pn_envelope *env)
{
    pn_waiter gone = {
        .id = env->id,
        .source = env->target,
        .target = env->source,
        .kill = true, /* as far as anybody knows here */
    };
    if (pn_map_get(&self->pending.waiters, env->id) != NULL) {
        pn_pending_bind(&self->pending, env->id, env->source);
        return;
    }
    pn_mailbox_send_cancel(self, env->source, env->target, env->id);
    pn_mailbox_doom(self, &gone);
}

/* An item of a stream. What cannot be unpickled ends it. */
static void
receive_item(MailboxObject *self, const pn_mail *mail)
{
    SinkObject *sink = pn_sink_find(self, mail->env.id);
    if (sink == NULL)
        return; /* it was left, and its source hears so */
    Py_INCREF(sink);
    size_t size =
        mail->value != NULL ? pn_letter_weigh(mail->value) : mail->size;
    PyObject *value = pn_mailbox_load(self, mail);
    if (value != NULL) {
        pn_sink_put(sink, mail->env.source, value, size);
    } else {
        value = tamed(self, mail->env.source, pn_take_exception());
        pn_sink_break(sink, value);
    }
    Py_XDECREF(value);
    Py_DECREF(sink);
}

static void
receive_mail(MailboxObject *self, const pn_mail *mail)
{
    pn_flight_received(self, &mail->env);
    switch (mail->env.kind) {
    case PN_ASK:
    case PN_TELL:
        pn_mailbox_run(self, mail);
        break;
    case PN_REPLY:
        receive_reply(self, mail);
        break;
    case PN_ERROR:
        receive_error(self, mail);
        break;
    case PN_BOUND:
        receive_bound(self, &mail->env);
        break;
    case PN_ITEM:
        receive_item(self, mail);
        break;
    case PN_GRANT:
        pn_source_grant(self, mail);
        break;
    case PN_CANCEL:
        pn_mailbox_recall(self, mail->env.target, mail->env.source,
                          mail->env.id);
        break;
    case PN_CREDIT:
        pn_mailbox_hear_credit(self, mail);
        break;
    default:
        tell_control(self, mail);
    }
}

/* A message for which there is no room is dropped alone; who waits for what
 * becomes of it hears so. */
static void
refuse(MailboxObject *self, const pn_envelope *env, int err, uint64_t size)
{
    pn_refusal why = pn_mailbox_refusal(self, err, size);
    if (env->kind == PN_ITEM)
        pn_mailbox_send_cancel(self, env->source, env->target, env->id);
    if (env->kind == PN_REPLY || env->kind == PN_ERROR || env->kind == PN_ITEM)
        fail_ask(self, env, why.condition, why.text, strlen(why.text));
    else if (env->kind == PN_ASK)
        pn_mailbox_say_refused(self, env->source, env->id, &why);
    else if (env->kind == PN_TELL)
        pn_mailbox_lose_tell(self->main, env, why.condition);
}

/* The payload lies in a segment of the peer's. */
static int
borrow(MailboxObject *self, pn_peer *peer, pn_mail *mail)
{
    int err = pn_mailbox_borrow(self, peer, &mail->ext, mail->holder);
    mail->payload = mail->holder->data;
    mail->size = mail->holder->size;
    mail->env.size = mail->size;
    return err;
}

static int
receive_message(MailboxObject *self, pn_peer *peer, const pn_message *message)
{
    pn_ref holder = {0};
    pn_mail mail = {
        .env = message->env,
        .payload = message->payload,
        .size = message->size,
        .holder = &holder,
    };
    int err = pn_extension_decode(&mail.ext, mail.env.extension,
                                  mail.env.extension_size);
    if (err < 0)
        return err;
    if (mail.env.kind == PN_SWITCH)
        return pn_direct_switch(self, peer, &mail.env);
    if (mail.env.kind == PN_SEGMENT)
        return pn_mailbox_hear_segment(self, peer, &mail);
    if (mail.env.kind == PN_LINK)
        return pn_direct_link(self, peer, &mail);
    if (mail.env.kind == PN_DOWN) {
        pn_inbox_forget(&peer->link.in, mail.env.id);
        pn_direct_down(self, mail.env.id);
    }
    if (mail.ext.segment == 0)
        (void)pn_inbox_take(&peer->link.in, message, &holder);
    else if ((err = borrow(self, peer, &mail)) < 0)
        return err;
    if (mail.env.size > self->limits.message_bytes)
        refuse(self, &mail.env, PN_ETOOBIG, mail.env.size);
    else
        receive_mail(self, &mail);
    pn_ref_release(&holder);
    return PN_OK;
}

/* Replace the name of a target by its number, in the frame too. */
static void
resolve_name(MailboxObject *self, pn_part *part)
{
    pn_envelope *env = &part->env;
    env->target = pn_mailbox_resolve_name(self, env);
    size_t head = part->raw_size - part->size - pn_envelope_size(env);
    pn_envelope_encode(env, (uint8_t *)(uintptr_t)part->raw + head);
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
    pn_mail mail = {
        .env = part->env, .payload = part->payload, .size = part->size};
    peer->greeted = true;
    mail.env.source = peer->number;
    mail.env.id = (uint64_t)peer->link.peer_pid;
    tell_control(self, &mail);
}

/* An actor speaks for itself only, and not as an arbiter; the arbiter passes
 * others' words. */
static bool
may_say(const MailboxObject *self, const pn_peer *peer, const pn_envelope *env)
{
    bool as_arbiter = env->kind == PN_STOP || env->kind == PN_BOUND ||
                      env->kind == PN_PEER || env->kind == PN_SPEC;
    bool to_arbiter = env->kind == PN_NOTIFY || env->kind == PN_LOG ||
                      env->kind == PN_DOWN || env->kind == PN_LINK ||
                      env->kind == PN_FAILURE || env->kind == PN_WATCH ||
                      env->kind == PN_ENDED || env->kind == PN_DOOM ||
                      pn_node_of(env->target) != self->number;
    return pn_node_of(env->source) == peer->number && !as_arbiter &&
           !(peer->neighbour != NULL && to_arbiter);
}

/* Whether it ends here: what a link itself says, what the arbiter has passed
 * on, and what names an actor of this node. */
static bool
is_for_us(const MailboxObject *self, const pn_peer *peer,
          const pn_envelope *env)
{
    return env->kind <= PN_PEER || peer == self->onward ||
           pn_node_of(env->target) == self->number;
}

static int
receive_hello(MailboxObject *self, pn_peer *peer, const pn_part *part)
{
    int err = check_hello(peer, part);
    if (err == PN_OK && peer == self->onward)
        peer->node = pn_node_of(part->env.source);
    if (err == PN_OK && peer->neighbour != NULL)
        return pn_direct_greeted(self, peer, &part->env);
    if (err == PN_OK)
        greet(self, peer, part);
    return err;
}

/* A frame that is for this node. */
static int
receive_here(MailboxObject *self, pn_peer *peer, const pn_part *part)
{
    pn_message message;
    int err = pn_inbox_join(&peer->link.in, part, &message);
    if (err == PN_ETOOBIG || err == PN_ENOMEM)
        refuse(self, &part->env, err, part->env.size);
    else if (err == PN_OK)
        return receive_message(self, peer, &message);
    bool passed_on = pn_node_of(part->env.source) != peer->node;
    if (err == PN_EPROTO && passed_on) /* no fault of the arbiter's */
        pn_inbox_forget(&peer->link.in, part->env.source);
    return err == PN_EPROTO && !passed_on ? err : PN_OK;
}

/* Whether it comes over the way of a pair of actors. */
static bool
is_relayed(const pn_envelope *env)
{
    return pn_kind_is_between_actors(env->kind) || env->kind == PN_SEGMENT;
}

/* A frame that was relayed, from a node that speaks over the relay again: all
 * that it has said over its link comes first. */
static int
receive_behind(MailboxObject *self, pn_peer *peer, const pn_part *part)
{
    PyObject *type, *value, *traceback;
    int err = PN_OK;
    pn_direct_read(self, pn_node_of(part->env.source));
    PyErr_Fetch(&type, &value, &traceback);
    if (!peer->lost)
        err = receive_here(self, peer, part);
    if (type != NULL && PyErr_Occurred())
        pn_mailbox_report(self);
    if (type != NULL)
        PyErr_Restore(type, value, traceback);
    return err;
}

int
pn_mailbox_receive(MailboxObject *self, pn_peer *peer, pn_part *part)
{
    peer->quiet = 0;
    if (!peer->greeted)
        return receive_hello(self, peer, part);
    if (part->env.kind == PN_HELLO)
        return PN_EPROTO; /* once only */
    if (peer != self->onward && !may_say(self, peer, &part->env))
        return PN_EPROTO;
    if (part->env.named && self->onward == NULL)
        resolve_name(self, part);
    if (!is_for_us(self, peer, &part->env))
        return pn_mailbox_relay(self, peer, part);
    if (peer == self->onward && is_relayed(&part->env) &&
        pn_direct_must_read(self, &part->env))
        return receive_behind(self, peer, part);
    return receive_here(self, peer, part);
}

void
pn_mailbox_receive_near(MailboxObject *self, pn_letter *letter)
{
    pn_envelope *env = &letter->env;
    if (env->named && self->onward == NULL && self->onward_box == NULL)
        env->target = pn_mailbox_resolve_name(self, env);
    bool ours = env->kind <= PN_PEER || env->kind == PN_DOWN ||
                pn_node_of(env->target) == self->number;
    if (!ours) {
        pn_mailbox_relay_near(self, letter);
        return;
    }
    if (letter->payload.size > self->limits.message_bytes) {
        refuse(self, env, PN_ETOOBIG, letter->payload.size);
        return;
    }
    pn_mail mail = {
        .env = *env,
        .payload = letter->payload.data,
        .size = letter->payload.size,
        .holder = &letter->payload,
        .value = letter->value,
        .known = letter->known,
    };
    if (pn_extension_decode(&mail.ext, env->extension, env->extension_size) ==
        PN_OK)
        receive_mail(self, &mail);
}
