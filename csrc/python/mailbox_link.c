/* Links of a mailbox: connecting, flushing, losing. What is sent within one
 * turn of the loop is gathered. */
#include "base/alloc.h"
#include "base/status.h"
#include "python/error.h"
#include "python/mailbox_direct.h"
#include "python/mailbox_flight.h"
#include "python/mailbox_park.h"
#include "python/mailbox_payload.h"
#include "python/mailbox_told.h"
#include "sys/clock.h"

#include <errno.h>
#include <unistd.h>

/* While the loop is kept busy, what was sent waits no longer than this. */
#define GATHER_NS 100000

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
    if (peer != NULL && pn_direct_may_speak(peer))
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
    return atomic_load(&way.box->messages) >= self->limits.outbox_messages ||
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

/* Put the descriptor into the poller as it is to be there. A muted one is in
 * it only for room to write, for its end would be told again and again. */
static int
rewatch(MailboxObject *self, pn_peer *peer, bool muted, bool writable)
{
    pn_poller *poller = &self->poller;
    int fd = peer->link.fd, err = 0;
    void *owner = watched_as(peer);
    bool was_in = !peer->muted || peer->armed, is_in = !muted || writable;
    if (was_in && !is_in)
        pn_poller_remove(poller, fd);
    else if (!was_in && is_in)
        err = pn_poller_add(poller, fd, owner, writable);
    if (err == 0 && is_in)
        err = muted ? pn_poller_mute(poller, fd, owner)
                    : pn_poller_change(poller, fd, owner, writable);
    return err;
}

bool
pn_mailbox_watch(MailboxObject *self, pn_peer *peer, bool writable)
{
    bool muted = pn_direct_is_deaf(peer);
    if (peer->armed == writable && peer->muted == muted)
        return true;
    int err = rewatch(self, peer, muted, writable);
    if (err < 0 && peer->neighbour != NULL) {
        pn_mailbox_lose(self, peer, err);
        return false;
    }
    if (err == 0) {
        peer->armed = writable;
        peer->muted = muted;
    }
    return true;
}

void
pn_mailbox_flush_peer(MailboxObject *self, pn_peer *peer)
{
    if (peer->lost)
        return;
    int err = pn_link_flush(&peer->link);
    bool gone = err == -EPIPE || err == -ECONNRESET;
    if (err < 0 && !gone) {
        pn_mailbox_lose(self, peer, err);
        return;
    }
    pn_mailbox_note_room(self, peer);
    pn_told *told = pn_mailbox_take_told(self, peer);
    /* Of who has gone the end of file tells, behind its bytes. */
    if (pn_mailbox_watch(self, peer, err == PN_MORE) && err == PN_OK &&
        peer->neighbour != NULL)
        pn_direct_settle(self, peer);
    pn_mailbox_end_taken(self, told);
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
    self->flushed_at = pn_flight_clock(self);
    while (self->dirty != NULL) {
        pn_peer *peer = self->dirty;
        self->dirty = peer->next;
        peer->next = NULL;
        peer->dirty = false;
        pn_mailbox_flush_peer(self, peer);
    }
}

void
pn_mailbox_flush_stale(MailboxObject *self, int64_t now)
{
    if (self->dirty != NULL && now - self->flushed_at > GATHER_NS)
        pn_mailbox_flush_dirty(self);
}

/* Whether what is sent now is the first of its turn. Nobody tells when a turn
 * of a foreign loop begins: one does with each batch that comes in, and one
 * is over at end_turn or, where nothing asked for that, after TURN_NS. */
static bool
begins_turn(MailboxObject *self)
{
    int64_t now = pn_flight_clock(self);
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
    peer->quiet = 0;
    if (self->lone || (!self->busy && begins_turn(self))) {
        self->lone = false;
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
    size_t size = payload.size;
    pn_letter *letter = pn_letter_new(env, &payload, value, known);
    if (letter == NULL) {
        pn_ref_release(&payload);
        PyErr_NoMemory();
        return -1;
    }
    pn_flight_sent(self, env, size);
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
    size_t size = payload.size;
    int err = pn_outbox_put(&way.peer->link.out, env, &payload);
    if (err < 0) {
        pn_ref_release(&payload);
        (void)pn_raise_status(self->state, err);
        return -1;
    }
    pn_flight_sent(self, env, size);
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

void
pn_mailbox_bury(MailboxObject *self, pn_peer *peer)
{
    peer->lost = true;
    peer->neighbour = NULL;
    if (self->onward == peer)
        self->onward = NULL;
    if (pn_map_get(&self->peers, peer->number) == peer)
        (void)pn_map_take(&self->peers, peer->number);
    pn_route *route = pn_router_find(&self->router, peer->number);
    if (route != NULL && route->link == peer)
        route->link = NULL;
    remove_dirty(self, peer);
    pn_mailbox_drop_segments(self, peer);
    pn_poller_remove(&self->poller, peer->link.fd);
    pn_link_hang_up(&peer->link); /* what runs now may last, or fork */
    pn_mailbox_note_room(self, peer);
    pn_mailbox_end_taken(self, pn_mailbox_take_told(self, peer));
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
    if (peer->neighbour != NULL) {
        pn_direct_lose(self, peer, status);
        return;
    }
    uint64_t number = peer->number;
    pn_mailbox_bury(self, peer);
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
        pn_mailbox_drop_segments(self, peer);
        pn_link_hang_up(&peer->link);
        peer->next = self->graveyard;
        self->graveyard = peer;
    }
    pn_map_free(&self->peers);
    pn_direct_drop_all(self);
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
pn_mailbox_adopt(MailboxObject *self, pn_peer *peer)
{
    int err =
        pn_poller_add(&self->poller, peer->link.fd, watched_as(peer), false);
    if (err < 0)
        return err;
    err = pn_map_put(&self->peers, peer->number, peer);
    if (err < 0)
        pn_poller_remove(&self->poller, peer->link.fd);
    return err;
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
    if (err < 0 && first)
        pn_box_unopen(self->box);
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
        pn_mailbox_bury(self, peer);
    else
        give_up_near(self, value);
    pn_router_remove(&self->router, value);
    (void)pn_map_take(&self->shipped, value);
    Py_RETURN_NONE;
}
