/* What an arbiter passes on: it reads envelopes, never payloads. */
#include "base/status.h"
#include "python/cell.h"
#include "python/mailbox_direct.h"
#include "python/mailbox_flight.h"

#include <stdio.h>

/* Only what actors say to each other passes the arbiter, and that they take
 * another way from now on. */
static bool
may_be_relayed(uint8_t kind)
{
    return pn_kind_is_between_actors(kind) || kind == PN_SWITCH;
}

/* Whether its extension may go on. One that cannot be read would end the link
 * to its target; memory and descriptors are those of one link alone. */
static bool
may_be_extended(const pn_envelope *env)
{
    pn_extension ext;
    return env->extension_size == 0 ||
           (pn_extension_decode(&ext, env->extension, env->extension_size) ==
                PN_OK &&
            ext.segment == 0 && ext.descriptor == 0);
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

/* Both nodes are children of this one and talk for the first time. */
static void
note_talk(MailboxObject *self, uint64_t source, uint64_t target)
{
    pn_route *from = pn_router_find(&self->router, source);
    pn_route *to = pn_router_find(&self->router, target);
    if (from != NULL && to != NULL && pn_map_get(&from->peers, target) == NULL)
        introduce(self, from, to);
}

/* Whether too much waits already on the way to the target. Its asker hears
 * so; a tell is a dead letter. */
static bool
is_refused_for_room(MailboxObject *self, pn_way way, const pn_envelope *env)
{
    bool begins =
        env->offset == 0 && (env->kind == PN_ASK || env->kind == PN_TELL);
    if (!begins || !pn_mailbox_is_full(self, way))
        return false;
    if (env->kind == PN_TELL) {
        pn_mailbox_lose_tell(self->main, env, "mailbox-full");
        return true;
    }
    char number[24];
    (void)snprintf(number, sizeof number, "%llu",
                   (unsigned long long)env->target);
    PyObject *payload = PyBytes_FromString(number);
    if (payload != NULL)
        pn_mailbox_reply_error(self, self->number, env->source, env->id,
                               "mailbox-full", payload);
    else
        pn_mailbox_report(self);
    Py_XDECREF(payload);
    return true;
}

/* The way to the target's node, and whether the message may take it. An actor
 * that is ending has no way any more: its DOWN, which is to come, fails the
 * ask. */
static bool
find_way(MailboxObject *self, const pn_envelope *env, pn_way *way)
{
    uint64_t target = pn_node_of(env->target);
    note_talk(self, pn_node_of(env->source), target);
    *way = (pn_way){0};
    if (!self->closed && target != 0)
        *way = pn_mailbox_way(self, target);
    if (pn_way_exists(*way))
        return !is_refused_for_room(self, *way, env);
    if (pn_router_find(&self->router, target) == NULL)
        pn_mailbox_refuse(self, env->source, env);
    else if (env->kind == PN_TELL && env->offset == 0)
        pn_mailbox_lose_tell(self->main, env, "actor-down");
    return false;
}

/* --- frames --- */

/* A frame of control is not copied as it stands: that lane has no frames. */
static int
put_frame(pn_peer *to, const pn_part *part)
{
    if (pn_kind_is_control(part->env.kind)) {
        pn_ref payload = pn_ref_borrowed(part->payload, part->size);
        return pn_outbox_put(&to->link.out, &part->env, &payload);
    }
    return pn_outbox_put_frame(&to->link.out, part->raw, part->raw_size);
}

/* What finds no room while it is joined is dropped alone; who waits for what
 * becomes of it hears so. */
static void
refuse(MailboxObject *self, const pn_envelope *env, int err)
{
    pn_refusal why = pn_mailbox_refusal(self, err, env->size);
    if (env->kind == PN_ITEM)
        pn_mailbox_send_cancel(self, env->source, env->target, env->id);
    if (env->kind == PN_REPLY || env->kind == PN_ERROR || env->kind == PN_ITEM)
        pn_mailbox_say_refused(self, env->target, env->id, &why);
    else if (env->kind == PN_ASK)
        pn_mailbox_say_refused(self, env->source, env->id, &why);
    else if (env->kind == PN_TELL)
        pn_mailbox_lose_tell(self->main, env, why.condition);
}

/* What goes to a thread is joined here. */
static int
put_joined(MailboxObject *self, pn_peer *from, pn_box *box,
           const pn_part *part)
{
    pn_message message;
    int err = pn_inbox_join(&from->link.in, part, &message);
    if (err == PN_ETOOBIG || err == PN_ENOMEM)
        refuse(self, &part->env, err);
    if (err != PN_OK)
        return err == PN_EPROTO ? err : PN_OK;
    pn_ref payload = {0};
    if (message.size > 0 &&
        !pn_inbox_take(&from->link.in, &message, &payload) &&
        pn_ref_copy(&payload, message.payload, message.size) < 0)
        PyErr_NoMemory();
    else
        (void)pn_mailbox_put_near(self, box, &message.env, payload, NULL,
                                  NULL);
    if (PyErr_Occurred())
        pn_mailbox_report(self);
    return PN_OK;
}

/* A node's word to another about their direct link, which has ended. */
static int
relay_farewell(MailboxObject *self, const pn_part *part)
{
    if (!pn_mailbox_note_farewell(self, part))
        return PN_OK;
    pn_way way = pn_mailbox_way(self, part->env.target);
    if (way.peer == NULL)
        return PN_OK;
    int err = put_frame(way.peer, part);
    if (err == PN_OK && pn_mailbox_schedule(self, way.peer) < 0)
        pn_mailbox_report(self);
    return err;
}

/* Count what was passed on, and have the two meet. */
static int
note_relayed(MailboxObject *self, pn_peer *from, pn_peer *to,
             const pn_envelope *env)
{
    pn_flight_sent(self, env, env->size);
    if (env->offset == 0 && !pn_kind_is_control(env->kind) &&
        env->kind != PN_SWITCH && env->kind != PN_DEFINE)
        self->relayed++;
    if (env->offset == 0 && (env->kind == PN_ASK || env->kind == PN_TELL))
        pn_mailbox_meet(self, from, to);
    return pn_mailbox_schedule(self, to);
}

int
pn_mailbox_relay(MailboxObject *self, pn_peer *from, pn_part *part)
{
    pn_way way;
    if (!may_be_extended(&part->env))
        return PN_EPROTO;
    if (part->env.kind == PN_LINK)
        return relay_farewell(self, part);
    if (!may_be_relayed(part->env.kind))
        return PN_EPROTO;
    if (!find_way(self, &part->env, &way))
        return PN_OK;
    if (from->lost) { /* by what introducing ran */
        pn_mailbox_refuse(self, part->env.source, &part->env);
        return PN_OK;
    }
    if (way.box != NULL)
        return put_joined(self, from, way.box, part);
    int err = put_frame(way.peer, part);
    if (err < 0 && part->env.kind == PN_SWITCH)
        return err; /* or the other would wait for it for ever */
    if (err < 0)
        pn_mailbox_refuse(self, part->env.source, &part->env);
    else if (note_relayed(self, from, way.peer, &part->env) < 0)
        pn_mailbox_report(self);
    return PN_OK;
}

/* --- letters --- */

void
pn_mailbox_relay_near(MailboxObject *self, pn_letter *letter)
{
    pn_way way;
    const pn_envelope *env = &letter->env;
    if (!may_be_relayed(env->kind) || letter->value != NULL ||
        !find_way(self, env, &way))
        return;
    pn_ref payload = letter->payload; /* passes on */
    letter->payload = (pn_ref){0};
    if (pn_mailbox_put(self, way, env, payload) < 0)
        pn_mailbox_report(self);
}

/* --- names --- */

/* Tell the asker which actor its ask to a name has gone to. */
static void
tell_bound(MailboxObject *self, const pn_envelope *env, uint64_t number)
{
    pn_way way = pn_mailbox_way(self, env->source);
    pn_envelope bound = {
        .kind = PN_BOUND,
        .source = number,
        .target = env->source,
        .id = env->id,
    };
    if (pn_way_exists(way) &&
        pn_mailbox_put(self, way, &bound, (pn_ref){0}) < 0)
        pn_mailbox_report(self);
}

uint64_t
pn_mailbox_resolve_name(MailboxObject *self, const pn_envelope *env)
{
    uint64_t target = 0;
    PyObject *name = pn_mailbox_text(env->name, env->name_size);
    PyObject *number =
        name == NULL ? NULL : PyDict_GetItemWithError(self->port.names, name);
    if (number != NULL)
        target = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        target = 0;
    }
    Py_XDECREF(name);
    if (target != 0 && env->kind == PN_ASK && env->offset == 0)
        tell_bound(self, env, target);
    return target;
}
