/* Direct links: this node's end of its meetings with others, whose states are
 * those of mailbox/meeting.h. The arbiter introduces: mailbox_meet.c. */
#include "python/mailbox_direct.h"
#include "base/alloc.h"
#include "base/status.h"
#include "python/error.h"
#include "python/future.h"
#include "python/mailbox_park.h"
#include "sys/clock.h"

#include <sys/resource.h>
#include <unistd.h>

/* A link is idle when nothing has passed in so many looks, one behind the
 * other. */
#define LOOKS 4

/* A process gives direct links this part of the descriptors it may have. */
#define SHARE 4

static pn_neighbour *
find(const MailboxObject *self, uint64_t node)
{
    return pn_map_get(&self->neighbours, node);
}

static pn_neighbour *
find_or_make(MailboxObject *self, uint64_t node)
{
    pn_neighbour *other = find(self, node);
    if (other != NULL)
        return other;
    other = pn_alloc_zeroed(1, sizeof *other);
    if (other == NULL)
        return NULL;
    other->node = node;
    if (pn_map_put(&self->neighbours, node, other) == PN_OK)
        return other;
    pn_free(other);
    return NULL;
}

static void
forget(MailboxObject *self, pn_neighbour *other)
{
    (void)pn_map_take(&self->neighbours, other->node);
    pn_free(other);
}

void
pn_direct_drop_all(MailboxObject *self)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->neighbours, &cursor)) != NULL) {
        pn_neighbour *other = entry->value;
        if (other->peer != NULL)
            other->peer->neighbour = NULL;
        pn_free(other);
    }
    pn_map_free(&self->neighbours);
}

size_t
pn_direct_count(const MailboxObject *self)
{
    size_t cursor = 0, count = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->neighbours, &cursor)) != NULL)
        count += ((const pn_neighbour *)entry->value)->meeting.speaks;
    return count;
}

/* --- the end of a link --- */

/* Say over the relay, to the arbiter or through it. */
static int
relay(MailboxObject *self, const pn_envelope *env, pn_ref payload)
{
    pn_peer *onward = self->onward;
    if (self->closed || onward == NULL)
        return PN_ECLOSED;
    int err = pn_outbox_put(&onward->link.out, env, &payload);
    if (err == PN_OK && pn_mailbox_schedule(self, onward) < 0)
        pn_mailbox_report(self);
    return err;
}

/* Without memory the arbiter never hears of it, and the two relay on. */
static void
say_farewell(MailboxObject *self, uint64_t node, const pn_farewell *farewell)
{
    uint8_t bytes[PN_FAREWELL_SIZE];
    pn_farewell_encode(farewell, bytes);
    pn_envelope env = {
        .kind = PN_LINK,
        .source = self->number,
        .target = node,
        .id = farewell->link,
    };
    (void)relay(self, &env, pn_ref_borrowed(bytes, sizeof bytes));
}

/* Close this end and tell. The peer is buried, and other may be forgotten. */
static void
end_link(MailboxObject *self, pn_neighbour *other)
{
    pn_peer *peer = other->peer;
    other->peer = NULL;
    other->asked = self->pending.last_id;
    if (!pn_meeting_is_over(&other->meeting)) /* DEFINE may be lost with it */
        (void)pn_map_take(&self->shipped, other->node);
    pn_farewell farewell = pn_meeting_end(&other->meeting);
    uint64_t node = other->node;
    if (peer != NULL)
        pn_mailbox_bury(self, peer);
    say_farewell(self, node, &farewell);
}

void
pn_direct_lose(MailboxObject *self, pn_peer *peer, int status)
{
    uint64_t node = peer->number;
    end_link(self, peer->neighbour);
    if (status == PN_ECLOSED)
        return; /* the other's farewell tells, or its DOWN */
    PyObject *lost = Py_NewRef(self->port.lost);
    PyObject *result = PyObject_CallFunction(
        lost, "Kis", (unsigned long long)node, status, pn_status_text(status));
    Py_DECREF(lost);
    if (result == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(result);
}

/* Say SWITCH over the link, if there is room for it at once. */
static int
leave(MailboxObject *self, pn_peer *peer)
{
    pn_meeting *meeting = &peer->neighbour->meeting;
    pn_envelope env = {
        .kind = PN_SWITCH,
        .source = self->number,
        .target = peer->number,
        .id = meeting->link,
    };
    int err = pn_link_finish(&peer->link, &env);
    if (err == PN_OK)
        pn_meeting_leave(meeting);
    return err;
}

void
pn_direct_settle(MailboxObject *self, pn_peer *peer)
{
    pn_neighbour *other = peer->neighbour;
    int err = PN_OK;
    if (pn_meeting_must_leave(&other->meeting))
        err = leave(self, peer);
    if (err < 0)
        pn_mailbox_lose(self, peer, PN_ECLOSED);
    else if (pn_meeting_is_over(&other->meeting))
        end_link(self, other);
    else if (err == PN_MORE)
        (void)pn_mailbox_watch(self, peer, true);
}

/* --- idle links --- */

static void
look_again(MailboxObject *self, uint64_t node, int64_t now)
{
    pn_neighbour *other = find(self, node);
    double wait = self->link_idle / LOOKS * 1e9;
    other->look_due = now + (wait < 1e18 ? (int64_t)wait : (int64_t)1e18);
    if (pn_mailbox_set_timer(self, other->look_due, node, PN_DUE_LINK) < 0)
        PyErr_Clear(); /* no descriptor for a timer: the link stays, idle */
}

bool
pn_direct_is_open(const MailboxObject *self, uint64_t node)
{
    const pn_neighbour *other = find(self, node);
    return other != NULL && other->peer != NULL;
}

bool
pn_direct_is_settled(const MailboxObject *self, uint64_t node, int64_t due)
{
    const pn_neighbour *other = find(self, node);
    return other == NULL || other->peer == NULL || other->look_due != due;
}

void
pn_direct_look(MailboxObject *self, uint64_t node, int64_t due)
{
    pn_neighbour *other = find(self, node);
    if (pn_direct_is_settled(self, node, due))
        return;
    const pn_meeting *meeting = &other->meeting;
    pn_peer *peer = other->peer;
    bool both = meeting->speaks && meeting->hears && !meeting->heard_all;
    peer->quiet = both ? (uint8_t)(peer->quiet + 1) : 0;
    if (peer->quiet > LOOKS && leave(self, peer) < 0)
        pn_mailbox_lose(self, peer, PN_ECLOSED);
    if (pn_direct_is_open(self, node))
        look_again(self, node, pn_clock_now());
}

/* --- the beginning of a link --- */

static int
say_hello(MailboxObject *self, pn_peer *peer)
{
    pn_hello hello;
    uint8_t bytes[PN_HELLO_SIZE];
    pn_mailbox_hello(&hello);
    pn_hello_encode(&hello, bytes);
    pn_envelope env = {
        .kind = PN_HELLO,
        .source = self->number,
        .target = peer->number,
    };
    pn_ref payload = pn_ref_borrowed(bytes, sizeof bytes);
    int err = pn_outbox_put(&peer->link.out, &env, &payload);
    if (err == PN_OK && pn_mailbox_schedule(self, peer) < 0)
        pn_mailbox_report(self);
    return err;
}

/* Whether this process has given direct links all the descriptors it does. */
static bool
has_enough(const MailboxObject *self)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           self->neighbours.count > limit.rlim_cur / SHARE;
}

/* Make fd, which is taken over, the link to other. */
static int
adopt(MailboxObject *self, pn_neighbour *other, int fd)
{
    pn_peer *peer = pn_alloc_zeroed(1, sizeof *peer);
    if (peer == NULL) {
        (void)close(fd);
        return PN_ENOMEM;
    }
    peer->number = peer->node = other->node;
    peer->neighbour = other;
    int err = pn_link_init(&peer->link, fd, &self->limits);
    if (err == PN_OK)
        err = pn_mailbox_adopt(self, peer);
    if (err < 0) {
        pn_link_close(&peer->link);
        pn_free(peer);
        return err;
    }
    other->peer = peer;
    return say_hello(self, peer);
}

static int
begin(MailboxObject *self, uint64_t node, uint64_t link, int fd)
{
    pn_neighbour *other = find_or_make(self, node);
    pn_farewell never = {.link = link};
    if (other == NULL) {
        if (fd >= 0)
            (void)close(fd);
        say_farewell(self, node, &never);
        return PN_OK;
    }
    int err = pn_meeting_begin(&other->meeting, link);
    if (err < 0) {
        if (fd >= 0)
            (void)close(fd);
        return err;
    }
    if (fd < 0 || has_enough(self)) {
        if (fd >= 0)
            (void)close(fd);
        end_link(self, other);
    } else if (adopt(self, other, fd) < 0) {
        end_link(self, other);
    }
    return PN_OK;
}

int
pn_direct_greeted(MailboxObject *self, pn_peer *peer, const pn_envelope *env)
{
    pn_meeting *meeting = &peer->neighbour->meeting;
    if (env->source != peer->number)
        return PN_EAUTH;
    int err = pn_meeting_greet(meeting);
    pn_envelope change = {
        .kind = PN_SWITCH,
        .source = self->number,
        .target = peer->number,
        .id = meeting->link,
    };
    if (err == PN_OK)
        err = relay(self, &change, (pn_ref){0});
    if (err < 0)
        return err;
    peer->greeted = true;
    pn_meeting_speak(meeting);
    if (self->link_idle > 0)
        look_again(self, peer->number, pn_clock_now());
    return PN_OK;
}

/* --- what changes the way --- */

/* The other says no more over the relay: its link is read. */
static void
hear(MailboxObject *self, uint64_t node, uint64_t link)
{
    pn_neighbour *other = find(self, node);
    if (other == NULL || other->peer == NULL ||
        !pn_meeting_hear(&other->meeting, link))
        return;
    pn_peer *peer = other->peer;
    peer->unread = true; /* behind the hello more may lie in its inbox */
    (void)pn_mailbox_watch(self, peer, peer->armed);
}

int
pn_direct_switch(MailboxObject *self, pn_peer *peer, const pn_envelope *env)
{
    if (peer->neighbour == NULL) {
        hear(self, pn_node_of(env->source), env->id);
        return PN_OK;
    }
    int err = pn_meeting_hear_end(&peer->neighbour->meeting);
    if (err == PN_OK)
        pn_direct_settle(self, peer);
    return err;
}

/* The link to node if it is read, and not to its end yet. */
static pn_peer *
heard(const MailboxObject *self, uint64_t node)
{
    const pn_neighbour *other = find(self, node);
    if (other == NULL || other->peer == NULL || !other->meeting.hears ||
        other->meeting.heard_all)
        return NULL;
    return other->peer;
}

bool
pn_direct_must_read(const MailboxObject *self, const pn_envelope *env)
{
    return self->neighbours.count > 0 && !env->named &&
           heard(self, pn_node_of(env->source)) != NULL;
}

/* Commands run meanwhile, and may do anything: each step looks again. What
 * one raises for the loop to end by is kept until all is read. */
void
pn_direct_read(MailboxObject *self, uint64_t node)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    pn_peer *peer;
    const pn_neighbour *other = find(self, node);
    uint64_t link = other == NULL ? 0 : other->meeting.link;
    while ((peer = heard(self, node)) != NULL &&
           peer->neighbour->meeting.link == link) {
        int err = pn_mailbox_read_once(self, peer);
        if (PyErr_Occurred() && type == NULL)
            PyErr_Fetch(&type, &value, &traceback);
        else if (PyErr_Occurred())
            pn_mailbox_report(self);
        if (err == PN_MORE) /* it has not left, though it says so */
            pn_mailbox_lose(self, peer, PN_EPROTO);
    }
    if (type != NULL)
        PyErr_Restore(type, value, traceback);
}

/* --- asks that were lost with a link --- */

/* Fail the asks to node up to id `last`: how much of them, and of their
 * answers, has arrived, nobody knows. */
static void
fail_asks(MailboxObject *self, uint64_t node, uint64_t last)
{
    pn_waiter *list = pn_pending_take_until(&self->pending, node, last);
    while (list != NULL) {
        pn_waiter *waiter = list;
        list = waiter->next;
        PyObject *future = waiter->object;
        uint64_t target = waiter->target, source = waiter->source;
        uint64_t id = waiter->id;
        pn_pending_recycle(&self->pending, waiter);
        pn_mailbox_send_cancel(self, target, source, id);
        PyObject *error =
            pn_mailbox_load_error(self, target, "link-lost", "", 0);
        if (error == NULL)
            error = pn_take_exception();
        pn_mailbox_resolve(self, future, true, error);
        Py_XDECREF(error);
        Py_DECREF(future);
    }
}

static int
farewell(MailboxObject *self, uint64_t node, const pn_mail *mail)
{
    pn_farewell theirs;
    int err =
        pn_farewell_decode(&theirs, mail->env.id, mail->payload, mail->size);
    pn_neighbour *other = find(self, node);
    if (err < 0 || other == NULL)
        return err;
    if (other->meeting.link == theirs.link)
        pn_direct_read(self, node);
    other = find(self, node);
    if (other != NULL && other->meeting.link == theirs.link)
        end_link(self, other);
    other = find(self, node);
    if (other == NULL)
        return PN_OK;
    uint64_t last = other->asked;
    bool lost = pn_meeting_farewell(&other->meeting, &theirs);
    if (other->meeting.link == 0 && other->meeting.ended == 0)
        forget(self, other);
    if (lost) {
        fail_asks(self, node, last);
        pn_mailbox_forget_credit(self, node);
    }
    return PN_OK;
}

int
pn_direct_link(MailboxObject *self, pn_peer *peer, const pn_mail *mail)
{
    uint64_t node = mail->env.source;
    if (peer != self->onward || node != pn_node_of(node) ||
        node == self->number || node == peer->number || node == 0)
        return PN_EPROTO;
    if (mail->ext.descriptor == 0)
        return farewell(self, node, mail);
    int fd = pn_link_claim(&peer->link, mail->ext.descriptor);
    return begin(self, node, mail->env.id, fd);
}

void
pn_direct_down(MailboxObject *self, uint64_t node)
{
    pn_direct_read(self, node);
    pn_neighbour *other = find(self, node);
    if (other == NULL)
        return;
    pn_peer *peer = other->peer;
    forget(self, other);
    if (peer != NULL) {
        peer->neighbour = NULL;
        pn_mailbox_bury(self, peer);
    }
}
