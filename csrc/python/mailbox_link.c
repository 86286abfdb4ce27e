/* Links of a mailbox: connecting, flushing, losing. What is sent within one
 * turn of the loop is gathered. */
#include "base/alloc.h"
#include "base/status.h"
#include "python/error.h"
#include "python/mailbox.h"
#include "sys/clock.h"

#include <errno.h>
#include <unistd.h>

/* A turn of the loop lasts no longer than this, as far as sending goes. */
#define TURN_NS 100000

/* The box of another node of this process, kept once it was found. */
static pn_box *
find_near(MailboxObject *self, uint64_t node)
{
    pn_box *box = pn_map_get(&self->near, node);
    if (box != NULL && !box->closed)
        return box;
    if (box != NULL) {
        (void)pn_map_take(&self->near, node);
        pn_box_drop(box);
    }
    box = pn_box_find(self->state, node, self->box->group);
    if (box != NULL && pn_map_put(&self->near, node, box) == PN_OK)
        return pn_box_keep(box);
    return NULL;
}

pn_way
pn_mailbox_way(MailboxObject *self, uint64_t number)
{
    uint64_t node = pn_node_of(number);
    if (self->box == NULL)
        return (pn_way){0};
    if (node == self->number)
        return (pn_way){.box = self->box};
    pn_peer *peer = pn_map_get(&self->peers, node);
    if (peer != NULL)
        return (pn_way){.peer = peer};
    pn_box *box = self->box->group == 0 ? NULL : find_near(self, node);
    if (box == NULL && self->onward == NULL)
        box = self->onward_box;
    if (box != NULL)
        return (pn_way){.box = box};
    return (pn_way){.peer = self->onward};
}

bool
pn_mailbox_is_full(const MailboxObject *self, pn_way way)
{
    if (way.box == NULL)
        return pn_outbox_full(&way.peer->link.out);
    return atomic_load(&way.box->count) >= self->limits.outbox_messages ||
           atomic_load(&way.box->bytes) >= self->limits.outbox_bytes;
}

/* What the poller calls a link: by its actor's number. The kernel goes on
 * watching a descriptor that somebody else has closed while a copy of it
 * lives, and would give back a pointer to what was freed. */
static void *
watched_as(const pn_peer *peer)
{
    _Static_assert(sizeof(void *) >= sizeof peer->number, "a number fits");
    return (void *)(uintptr_t)peer->number;
}

pn_peer *
pn_mailbox_watched(MailboxObject *self, void *owner)
{
    return pn_map_get(&self->peers, (uint64_t)(uintptr_t)owner);
}

/* --- flushing --- */

static void
arm(MailboxObject *self, pn_peer *peer, bool writable)
{
    if (peer->armed == writable)
        return;
    if (pn_poller_change(&self->poller, peer->link.fd, watched_as(peer),
                         writable) == 0)
        peer->armed = writable;
}

void
pn_mailbox_flush_peer(MailboxObject *self, pn_peer *peer)
{
    if (peer->lost)
        return;
    int err = pn_link_flush(&peer->link);
    if (err == PN_MORE)
        arm(self, peer, true);
    else if (err == PN_OK)
        arm(self, peer, false);
    else if (err != -EPIPE && err != -ECONNRESET)
        pn_mailbox_lose(self, peer, err);
    else
        arm(self, peer, false); /* its end of file tells, behind its bytes */
}

static void
mark_dirty(MailboxObject *self, pn_peer *peer)
{
    if (peer->dirty)
        return;
    peer->dirty = true;
    peer->next = self->dirty;
    self->dirty = peer;
}

void
pn_mailbox_flush_dirty(MailboxObject *self)
{
    self->flushed_at = pn_clock_now();
    while (self->dirty != NULL) {
        pn_peer *peer = self->dirty;
        self->dirty = peer->next;
        peer->next = NULL;
        peer->dirty = false;
        pn_mailbox_flush_peer(self, peer);
    }
}

/* Whether what is sent now is the first of its turn. Nobody tells when a turn
 * of a foreign loop begins: one does with each batch that comes in, and one
 * is over at end_turn or, where nothing asked for that, after TURN_NS. */
static bool
begins_turn(MailboxObject *self)
{
    int64_t now = pn_clock_now();
    if (self->call_soon == NULL)
        return true;
    if (self->turn || now - self->turn_began < TURN_NS)
        return false;
    self->turn_began = now;
    return true;
}

int
pn_mailbox_schedule(MailboxObject *self, pn_peer *peer)
{
    if (!self->busy && begins_turn(self)) {
        pn_mailbox_flush_peer(self, peer);
        return 0;
    }
    mark_dirty(self, peer);
    return self->busy ? 0 : pn_mailbox_request_turn(self);
}

int
pn_mailbox_put_near(MailboxObject *self, pn_box *box, const pn_envelope *env,
                    pn_ref payload, PyObject *value, PyObject *known)
{
    pn_letter *letter = pn_letter_new(env, &payload, value, known);
    if (letter == NULL) {
        pn_ref_release(&payload);
        PyErr_NoMemory();
        return -1;
    }
    /* A box that was closed just now: its DOWN fails what was asked. */
    if (pn_box_push(box, letter) == PN_MORE && !self->busy)
        return pn_mailbox_request_turn(self);
    return 0;
}

int
pn_mailbox_put(MailboxObject *self, pn_way way, const pn_envelope *env,
               pn_ref payload)
{
    if (way.box != NULL)
        return pn_mailbox_put_near(self, way.box, env, payload, NULL, NULL);
    int err = pn_outbox_put(&way.peer->link.out, env, &payload);
    if (err < 0) {
        pn_ref_release(&payload);
        (void)pn_raise_status(self->state, err);
        return -1;
    }
    return pn_mailbox_schedule(self, way.peer);
}

/* --- losing --- */

static void
free_peer(pn_peer *peer)
{
    pn_link_close(&peer->link);
    pn_free(peer);
}

static void
remove_dirty(MailboxObject *self, pn_peer *peer)
{
    pn_peer **at = &self->dirty;
    while (*at != NULL && *at != peer)
        at = &(*at)->next;
    if (*at == peer)
        *at = peer->next;
    peer->dirty = false;
}

/* Take the peer out of everything; it is freed once nobody reads it. */
static void
bury(MailboxObject *self, pn_peer *peer)
{
    peer->lost = true;
    if (self->onward == peer)
        self->onward = NULL;
    if (pn_map_get(&self->peers, peer->number) == peer)
        (void)pn_map_take(&self->peers, peer->number);
    pn_route *route = pn_router_find(&self->router, peer->number);
    if (route != NULL && route->link == peer)
        route->link = NULL;
    remove_dirty(self, peer);
    pn_poller_remove(&self->poller, peer->link.fd);
    pn_link_hang_up(&peer->link); /* what runs now may last, or fork */
    if (!self->busy) {
        free_peer(peer);
        return;
    }
    peer->next = self->graveyard;
    self->graveyard = peer;
}

void
pn_mailbox_free_graveyard(MailboxObject *self)
{
    while (self->graveyard != NULL) {
        pn_peer *peer = self->graveyard;
        self->graveyard = peer->next;
        free_peer(peer);
    }
}

void
pn_mailbox_lose(MailboxObject *self, pn_peer *peer, int status)
{
    if (peer->lost)
        return;
    uint64_t number = peer->number;
    bury(self, peer);
    if (self->port.lost == NULL)
        return;
    PyObject *lost = Py_NewRef(self->port.lost);
    PyObject *result =
        PyObject_CallFunction(lost, "Kis", (unsigned long long)number, status,
                              pn_status_text(status));
    Py_DECREF(lost);
    if (result == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(result);
}

/* Close the own box, and let go of those of others. */
static void
drop_near(MailboxObject *self)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    pn_box *box = self->box;
    self->box = NULL;
    if (box != NULL) {
        pn_box_withdraw(self->state, box);
        pn_box_close(box);
        pn_box_drop(box);
    }
    if (self->onward_box != NULL)
        pn_box_drop(self->onward_box);
    self->onward_box = NULL;
    while ((entry = pn_map_next(&self->near, &cursor)) != NULL)
        pn_box_drop(entry->value);
    pn_map_free(&self->near);
    if (self->timer >= 0)
        (void)close(self->timer);
    self->timer = -1;
}

void
pn_mailbox_drop_links(MailboxObject *self)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL) {
        pn_peer *peer = entry->value;
        peer->lost = true;
        pn_link_hang_up(&peer->link);
        peer->next = self->graveyard;
        self->graveyard = peer;
    }
    pn_map_free(&self->peers);
    self->dirty = NULL;
    self->onward = NULL;
    drop_near(self);
    if (!self->busy)
        pn_mailbox_free_graveyard(self);
    pn_poller_close(&self->poller);
    pn_router_free(&self->router);
    pn_map_free(&self->shipped);
}

/* --- connecting --- */

int
pn_mailbox_check_limits(const pn_link_limits *limits)
{
    if (limits->message_bytes <= PY_SSIZE_T_MAX &&
        limits->outbox_messages <= PY_SSIZE_T_MAX &&
        limits->outbox_bytes <= PY_SSIZE_T_MAX)
        return 0;
    PyErr_SetString(PyExc_ValueError, "a limit is negative");
    return -1;
}

int
pn_mailbox_open(MailboxObject *self)
{
    int err = self->poller.fd < 0 ? pn_poller_init(&self->poller) : 0;
    if (err == 0)
        return 0;
    (void)pn_raise_status(self->state, err);
    return -1;
}

static int
adopt(MailboxObject *self, pn_peer *peer, bool onward)
{
    int err =
        pn_poller_add(&self->poller, peer->link.fd, watched_as(peer), false);
    if (err < 0)
        return err;
    err = pn_map_put(&self->peers, peer->number, peer);
    if (err == PN_OK)
        err = pn_router_add(&self->router, peer->number, peer);
    if (err < 0) {
        (void)pn_map_take(&self->peers, peer->number);
        pn_poller_remove(&self->poller, peer->link.fd);
        return err;
    }
    if (onward)
        self->onward = peer;
    return PN_OK;
}

PyObject *
pn_mailbox_connect(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"number", "fd", "onward", NULL};
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long number;
    int fd, onward = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Ki|$p:connect", names,
                                     &number, &fd, &onward) ||
        pn_mailbox_check(self) < 0 || pn_mailbox_open(self) < 0)
        return NULL;
    if (number == 0 || number != pn_node_of(number)) {
        PyErr_Format(PyExc_ValueError, "%llu is no number of a node", number);
        return NULL;
    }
    if (number == self->number || pn_map_get(&self->peers, number) != NULL)
        return PyErr_Format(PyExc_ValueError, "actor %llu has a link", number);
    pn_peer *peer = pn_alloc_zeroed(1, sizeof *peer);
    if (peer == NULL)
        return PyErr_NoMemory();
    peer->number = number;
    int err = pn_link_init(&peer->link, fd, &self->limits);
    if (err == 0)
        err = adopt(self, peer, onward != 0);
    if (err < 0) {
        free_peer(peer);
        return pn_raise_status(self->state, err);
    }
    Py_RETURN_NONE;
}

PyObject *
pn_mailbox_enter(PyObject *op, PyObject *group)
{
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long value = PyLong_AsUnsignedLongLong(group);
    if (PyErr_Occurred() || pn_mailbox_check(self) < 0 ||
        pn_mailbox_open(self) < 0)
        return NULL;
    bool first = self->box->wake_fd < 0;
    int err = pn_box_open(self->box);
    if (err == 0 && first)
        err = pn_poller_add(&self->poller, self->box->wake_fd, PN_WATCH_BOX,
                            false);
    if (err < 0)
        return pn_raise_status(self->state, err);
    self->box->group = value;
    if (pn_box_publish(self->state, self->box) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *
pn_mailbox_connect_near(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"number", "onward", NULL};
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long number;
    int onward = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "K|$p:connect_near", names,
                                     &number, &onward) ||
        pn_mailbox_check(self) < 0)
        return NULL;
    if (!onward) {
        int err = pn_router_add(&self->router, number, NULL);
        return err < 0 ? PyErr_NoMemory() : Py_NewRef(Py_None);
    }
    pn_box *box = find_near(self, number);
    if (box == NULL || box == self->box)
        return PyErr_Format(PyExc_ValueError,
                            "node %llu is not in this process", number);
    if (self->onward_box == NULL)
        self->onward_box = pn_box_keep(box);
    Py_RETURN_NONE;
}

PyObject *
pn_mailbox_link_pair(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    int fds[2];
    int err = pn_link_pair(fds);
    if (err < 0) {
        errno = -err;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    PyObject *pair = Py_BuildValue("ii", fds[0], fds[1]);
    if (pair == NULL) {
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    return pair;
}

/* The limits that the spec tells: for the links that stand already too. */
PyObject *
pn_mailbox_limit(PyObject *op, PyObject *args)
{
    MailboxObject *self = (MailboxObject *)op;
    Py_ssize_t message_bytes, outbox_messages, outbox_bytes;
    if (!PyArg_ParseTuple(args, "nnn:limit", &message_bytes, &outbox_messages,
                          &outbox_bytes) ||
        pn_mailbox_check(self) < 0)
        return NULL;
    pn_link_limits limits = {
        .message_bytes = (size_t)message_bytes,
        .outbox_messages = (size_t)outbox_messages,
        .outbox_bytes = (size_t)outbox_bytes,
    };
    if (pn_mailbox_check_limits(&limits) < 0)
        return NULL;
    self->limits = limits;
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL)
        pn_link_limit(&((pn_peer *)entry->value)->link, &self->limits);
    Py_RETURN_NONE;
}

/* Whoever asks a node of this process that was disconnected hears that it is
 * down, even where its thread runs on. */
static void
give_up_near(MailboxObject *self, uint64_t node)
{
    pn_box *box = find_near(self, node);
    if (box == NULL || box == self->box)
        return;
    pn_box_shut(self->state, box);
    (void)find_near(self, node); /* which forgets it */
}

PyObject *
pn_mailbox_disconnect(PyObject *op, PyObject *number)
{
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred() || pn_mailbox_check(self) < 0)
        return NULL;
    pn_peer *peer = pn_map_get(&self->peers, value);
    if (peer != NULL)
        bury(self, peer);
    else
        give_up_near(self, value);
    pn_router_remove(&self->router, value);
    (void)pn_map_take(&self->shipped, value);
    Py_RETURN_NONE;
}
