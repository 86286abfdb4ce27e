/* What may not be sent yet, for its target has said so. */
#include "python/mailbox_park.h"

#include "base/status.h"
#include "python/cell.h"
#include "python/error.h"
#include "python/future.h"
#include "python/mailbox_flight.h"
#include "python/mailbox_payload.h"
#include "python/mailbox_told.h"
#include "sys/clock.h"

/* What was parked goes on for so long, then others get a turn. */
#define UNPARK_NS 1000000

/* An outbox with so much in it takes nothing that was parked. */
#define PRESSED_BYTES (256 * 1024)

/* --- what is said of an actor --- */

static void
heed(MailboxObject *self, uint64_t actor, pn_flow credit, uint32_t depth)
{
    if (credit == PN_STOPPED) {
        /* Without memory it is sent more, no worse than that. */
        (void)pn_park_stop(&self->park, actor, depth);
        return;
    }
    pn_park_go(&self->park, actor);
    pn_mailbox_look_at_park(self);
}

bool
pn_mailbox_send_credit(MailboxObject *self, uint64_t node, uint64_t source,
                       pn_flow credit, uint32_t depth)
{
    uint8_t said[2] = {(uint8_t)credit, 0};
    pn_ref payload;
    if (depth <= PN_CHAIN_LIMIT)
        said[1] = (uint8_t)depth;
    if (self->closed)
        return false;
    if (node == self->number) {
        heed(self, source, credit, said[1]);
        return true;
    }
    pn_way way = pn_mailbox_way(self, node);
    if (!pn_way_exists(way) || pn_ref_copy(&payload, said, sizeof said) < 0)
        return false;
    pn_envelope env = {.kind = PN_CREDIT, .source = source, .target = node};
    if (pn_mailbox_put(self, way, &env, payload) == 0)
        return true;
    pn_mailbox_report(self);
    return false;
}

void
pn_mailbox_forget_credit(MailboxObject *self, uint64_t node)
{
    pn_park_go_node(&self->park, node);
    pn_mailbox_look_at_park(self);
}

void
pn_mailbox_hear_credit(MailboxObject *self, const pn_mail *mail)
{
    if (mail->size < 1 || mail->payload[0] > PN_MAY_GO)
        return; /* a later version's */
    uint32_t depth = mail->size > 1 ? mail->payload[1] : 0;
    heed(self, mail->env.source, (pn_flow)mail->payload[0], depth);
}

bool
pn_mailbox_is_parked_for_ever(const MailboxObject *self, uint64_t target,
                              const pn_extension *ext)
{
    uint32_t depth = pn_park_depth(&self->park, target), waiting = 0;
    for (size_t i = 0; i < ext->chain_count; i++)
        waiting += pn_extension_number(ext->chain, i) == target;
    return depth > 0 && waiting >= depth;
}

/* --- in --- */

static pn_letter *
new_letter(pn_envelope *env, pn_extension *ext, pn_parcel *parcel,
           PyObject *value, PyObject *known)
{
    pn_extension_bytes room;
    pn_parcel_sizes sizes;
    pn_ref payload = {0};
    if (parcel->count > 0)
        pn_parcel_tell(parcel, &sizes, ext);
    pn_mailbox_extend(env, ext, &room);
    if (value == NULL && pn_parcel_pack(parcel, &payload) < 0)
        return NULL;
    pn_letter *letter = pn_letter_new(env, &payload, value, known);
    pn_ref_release(&payload);
    return letter;
}

/* Without memory nobody waits. */
static void
keep_waiter(MailboxObject *self, pn_letter *letter, PyObject *waiter)
{
    letter->told = pn_mailbox_keep_told(self, waiter);
    if (letter->told == NULL)
        pn_mailbox_resolve(self, waiter, false, Py_None);
}

int
pn_mailbox_park(MailboxObject *self, pn_envelope *env, pn_extension *ext,
                pn_parcel *parcel, PyObject *value, PyObject *known,
                PyObject *waiter, bool *full)
{
    int err = PN_ENOMEM;
    pn_letter *letter = new_letter(env, ext, parcel, value, known);
    if (letter != NULL) {
        letter->parked = (pn_parked){
            .target = env->target,
            .id = env->kind == PN_ASK ? env->id : 0,
            .bytes = letter->weight,
        };
        err = pn_park_put(&self->park, &letter->parked,
                          self->limits.outbox_messages,
                          self->limits.outbox_bytes);
    }
    if (err < 0 && letter != NULL)
        pn_letter_free(letter);
    else if (err == 0 && waiter != NULL)
        keep_waiter(self, letter, waiter);
    *full = err == PN_EFULL;
    if (err == PN_ENOMEM)
        PyErr_NoMemory();
    pn_parcel_drop(parcel); /* last: it may run anybody's code */
    return err == PN_ENOMEM ? -1 : 0;
}

/* --- out, unsent --- */

bool
pn_mailbox_drop_parked(MailboxObject *self, uint64_t id)
{
    pn_parked *entry = pn_park_find(&self->park, id);
    if (entry == NULL)
        return false;
    pn_park_take(&self->park, entry);
    pn_letter_free(pn_letter_of_parked(entry));
    return true;
}

/* It cannot reach its target any more. Who asked hears so by other means. */
static void
lose_letter(MailboxObject *self, pn_letter *letter)
{
    CellObject *cell = pn_mailbox_cell(self, letter->env.source);
    if (letter->env.kind == PN_TELL && cell != NULL)
        pn_mailbox_lose_tell(cell, &letter->env, "actor-down");
    pn_letter_free(letter);
}

void
pn_mailbox_drop_parked_for(MailboxObject *self, uint64_t node, bool all)
{
    pn_parked *entry = pn_park_take_node(&self->park, node, all);
    while (entry != NULL) {
        pn_letter *letter = pn_letter_of_parked(entry);
        entry = entry->next;
        pn_told *told = letter->told;
        lose_letter(self, letter);
        pn_mailbox_end_told(self, told);
    }
}

/* --- out, and on its way --- */

static bool
is_pressed(const MailboxObject *self, const pn_peer *peer)
{
    const pn_outbox *out = &peer->link.out;
    size_t bytes = self->limits.outbox_bytes / 2;
    return out->messages >= (self->limits.outbox_messages + 1) / 2 ||
           out->bytes >= (bytes < PRESSED_BYTES ? bytes : PRESSED_BYTES);
}

/* Whether the way takes a message now; if not, word comes when it does. */
static bool
has_room(MailboxObject *self, pn_way *way, uint64_t target)
{
    if (way->peer == NULL || !is_pressed(self, way->peer))
        return true;
    pn_mailbox_flush_peer(self, way->peer);
    *way = pn_mailbox_way(self, target);
    if (way->peer == NULL || !is_pressed(self, way->peer))
        return true;
    way->peer->awaited = true;
    return false;
}

/* The ask cannot be sent for the reason that is set. */
static void
fail_letter(MailboxObject *self, uint64_t id)
{
    PyObject *error = pn_take_exception();
    PyObject *future = id == 0 ? NULL : pn_pending_take(&self->pending, id);
    if (future != NULL)
        pn_mailbox_resolve(self, future, true, error);
    Py_XDECREF(future);
    Py_XDECREF(error);
}

static void
send_letter(MailboxObject *self, pn_way way, pn_letter *letter)
{
    uint64_t id = letter->parked.id;
    bool near =
        way.box != NULL && way.box->node == pn_node_of(letter->env.target);
    if (!pn_way_exists(way) || (letter->value != NULL && !near)) {
        lose_letter(self, letter); /* its target has ended */
        return;
    }
    if (way.box != NULL) {
        pn_flight_sent(self, &letter->env, letter->payload.size);
        if (pn_box_push(way.box, letter) == PN_MORE && !self->busy &&
            pn_mailbox_request_turn(self) < 0)
            pn_mailbox_report(self);
        return;
    }
    pn_ref payload = letter->payload;
    letter->payload = (pn_ref){0};
    if (pn_mailbox_put(self, way, &letter->env, payload) < 0)
        fail_letter(self, id);
    pn_letter_free(letter);
}

void
pn_mailbox_unpark(MailboxObject *self)
{
    pn_parked *entry;
    size_t skipped = 0;
    if (!self->look_at_park)
        return;
    self->look_at_park = false;
    int64_t deadline = pn_clock_now() + UNPARK_NS;
    while (!self->closed && skipped < self->park.targets.count &&
           (entry = pn_park_next(&self->park)) != NULL) {
        uint64_t target = entry->target;
        pn_way way = pn_mailbox_way(self, target);
        if (!has_room(self, &way, target)) {
            pn_park_skip(&self->park);
            skipped++;
            continue;
        }
        if (pn_park_next(&self->park) != entry || entry->target != target)
            continue; /* flushing has changed it */
        skipped = 0;
        pn_park_take(&self->park, entry);
        pn_told *told = pn_letter_of_parked(entry)->told;
        send_letter(self, way, pn_letter_of_parked(entry));
        pn_mailbox_end_told(self, told);
        if (pn_clock_now() > deadline) {
            pn_mailbox_look_at_park(self);
            return;
        }
    }
}

void
pn_mailbox_look_at_park(MailboxObject *self)
{
    if (self->park.turn == NULL || self->closed)
        return;
    self->look_at_park = true;
    if (!self->busy && pn_mailbox_request_turn(self) < 0)
        pn_mailbox_report(self);
}

void
pn_mailbox_note_room(MailboxObject *self, pn_peer *peer)
{
    if (!peer->awaited || (!peer->lost && is_pressed(self, peer)))
        return;
    peer->awaited = false;
    pn_mailbox_look_at_park(self);
}
