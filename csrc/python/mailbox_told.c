#include "python/mailbox_told.h"

#include "base/alloc.h"

/* From so much on a way, who tells is to wait, until half of it has left. */
#define MARK_MESSAGES 1000
#define MARK_BYTES (1024 * 1024)

/* --- the list --- */

static pn_told *
add(MailboxObject *self, PyObject *future, const pn_peer *peer, pn_box *box)
{
    pn_told *told = pn_alloc(sizeof *told);
    if (told == NULL)
        return NULL;
    *told = (pn_told){
        .previous = self->last_told,
        .future = Py_NewRef(future),
        .peer = peer,
        .box = box == NULL ? NULL : pn_box_keep(box),
    };
    if (self->last_told != NULL)
        self->last_told->next = told;
    else
        self->told = told;
    self->last_told = told;
    return told;
}

static void
take(MailboxObject *self, pn_told *told)
{
    if (told->previous != NULL)
        told->previous->next = told->next;
    else
        self->told = told->next;
    if (told->next != NULL)
        told->next->previous = told->previous;
    else
        self->last_told = told->previous;
}

/* End one that was taken; who wakes up may tell again. */
static void
end(MailboxObject *self, pn_told *told, bool unseen)
{
    PyObject *future = told->future;
    if (told->box != NULL)
        pn_box_drop(told->box);
    pn_free(told);
    if (!unseen)
        pn_mailbox_resolve(self, future, false, Py_None);
    Py_DECREF(future);
}

/* End what was taken, linked by next. */
static void
end_all(MailboxObject *self, pn_told *list, bool unseen)
{
    while (list != NULL) {
        pn_told *told = list;
        list = told->next;
        end(self, told, unseen);
    }
}

/* --- parked --- */

pn_told *
pn_mailbox_keep_told(MailboxObject *self, PyObject *future)
{
    return add(self, future, NULL, NULL);
}

void
pn_mailbox_end_told(MailboxObject *self, pn_told *told)
{
    if (told == NULL)
        return;
    take(self, told);
    end(self, told, self->closed);
}

/* --- on the ways --- */

/* Whether more than a part of the mark stands before the next message. */
static bool
is_above(const pn_peer *peer, pn_box *box, size_t part)
{
    size_t messages = MARK_MESSAGES / part, bytes = MARK_BYTES / part;
    if (peer != NULL)
        return peer->link.out.messages > messages ||
               peer->link.out.bytes > bytes;
    return atomic_load(&box->messages) > messages ||
           atomic_load(&box->bytes) > bytes;
}

/* Whether who tells over this way is to wait, and will be told when not. */
static bool
is_to_wait(MailboxObject *self, pn_way way)
{
    if (!pn_way_exists(way))
        return false;
    if (is_above(way.peer, way.box, 1))
        return way.box == NULL ||
               pn_box_tell_below(way.box, self->box, MARK_MESSAGES / 2,
                                 MARK_BYTES / 2);
    bool near = way.box != NULL && way.box != self->box;
    if (!near || self->box == NULL || !pn_box_is_awake(self->box))
        return false;
    /* What lies here may say that the target is full, and is looked at soon;
     * who never waits would never hear it. */
    self->box->nudged = true;
    return true;
}

void
pn_mailbox_settle_told(MailboxObject *self, uint64_t target, PyObject *future)
{
    pn_way way = self->closed ? (pn_way){0} : pn_mailbox_way(self, target);
    pn_told *told = NULL;
    if (is_to_wait(self, way))
        told = add(self, future, way.peer, way.box);
    if (told == NULL)
        pn_mailbox_resolve(self, future, false, Py_None);
    else if (way.peer != NULL)
        way.peer->told = true;
}

/* Take all that is on a way; peer NULL: on those by boxes that are closed or
 * empty enough. What is to wait on is entered into its box again. */
static pn_told *
take_ready(MailboxObject *self, const pn_peer *peer)
{
    pn_told *first = NULL, **end_of = &first, *next;
    for (pn_told *told = self->told; told != NULL; told = next) {
        next = told->next;
        if (peer != NULL ? told->peer != peer : told->box == NULL)
            continue;
        if (told->box != NULL && !told->box->closed &&
            is_above(NULL, told->box, 2) &&
            pn_box_tell_below(told->box, self->box, MARK_MESSAGES / 2,
                              MARK_BYTES / 2))
            continue;
        take(self, told);
        told->next = NULL;
        *end_of = told;
        end_of = &told->next;
    }
    return first;
}

pn_told *
pn_mailbox_take_told(MailboxObject *self, pn_peer *peer)
{
    if (!peer->told || (!peer->lost && is_above(peer, NULL, 2)))
        return NULL;
    peer->told = false;
    return take_ready(self, peer);
}

void
pn_mailbox_end_taken(MailboxObject *self, pn_told *list)
{
    end_all(self, list, self->closed);
}

void
pn_mailbox_look_at_boxes(MailboxObject *self)
{
    if (self->box == NULL || !self->box->nudged)
        return;
    self->box->nudged = false;
    end_all(self, take_ready(self, NULL), self->closed);
}

void
pn_mailbox_drop_told(MailboxObject *self, bool unseen)
{
    pn_told *first = NULL, **end_of = &first, *next;
    for (pn_told *told = self->told; told != NULL; told = next) {
        next = told->next;
        if (told->peer == NULL && told->box == NULL)
            continue; /* its letter knows it */
        take(self, told);
        told->next = NULL;
        *end_of = told;
        end_of = &told->next;
    }
    end_all(self, first, unseen);
}
