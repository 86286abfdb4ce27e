#include "python/mailbox_fuse.h"

#include "python/error.h"

#include <signal.h>
#include <time.h>

/* What an arbiter that has doomed this process may take to end it: it looks
 * first what that is at. In tenths of a second. */
#define PATIENCE 50

/* Only an actor that has its process for itself may end it. */
static int
refuse(const RequestObject *request)
{
    PyErr_SetString(request->cell->mailbox->state->command_error,
                    "on_deadline='kill' needs an actor that has a process: a "
                    "thread or a coroutine cannot be killed");
    return -1;
}

/* --- in the flight recorder --- */

/* Whether all that was answered has left, so that no end can lose it. */
static bool
has_left(const MailboxObject *self)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL) {
        const pn_peer *peer = entry->value;
        if (!pn_outbox_empty(&peer->link.out))
            return false;
    }
    return true;
}

/* The asks that have begun and are not answered: how many, or
 * PN_RECORDER_UNKNOWN. */
static uint32_t
list_begun(const MailboxObject *self, pn_recorder_ask out[PN_RECORDER_BEGUN])
{
    size_t cursor = 0;
    uint32_t count = 0;
    const pn_map_entry *entry;
    if (!has_left(self))
        return PN_RECORDER_UNKNOWN;
    while ((entry = pn_map_next(&self->running, &cursor)) != NULL) {
        const RequestObject *at = entry->value;
        for (; at != NULL; at = at->next) {
            if (count == PN_RECORDER_BEGUN)
                return PN_RECORDER_UNKNOWN;
            out[count++] = (pn_recorder_ask){at->source, at->id};
        }
    }
    return count;
}

/* 0, or -1 with an exception: who asked is gone. */
static int
tell(const RequestObject *request)
{
    MailboxObject *self = request->cell->mailbox;
    pn_recorder_ask begun[PN_RECORDER_BEGUN];
    pn_recorder_ask ask = {0}; /* a tell is nobody's: none can give it up */
    if (self->flight.page == NULL)
        return 0;
    if (request->id != 0)
        ask = (pn_recorder_ask){request->source, request->id};
    uint32_t count = list_begun(self, begun);
    self->fuse_number =
        pn_recorder_light(self->flight.page, ask, begun, count);
    if (self->fuse_number != 0)
        return 0;
    PyErr_SetString(self->state->command_error, "its asker has gone");
    return -1;
}

/* The arbiter is about to end this process; should it have ended itself
 * instead, nobody else would. */
static void
await_end(void)
{
    for (int i = 0; i < PATIENCE; i++) {
        struct timespec tenth = {.tv_nsec = 100000000};
        (void)nanosleep(&tenth, NULL);
    }
    (void)raise(SIGKILL);
}

/* --- burning --- */

int
pn_mailbox_light_fuse(RequestObject *request)
{
    MailboxObject *self = request->cell->mailbox;
    if (self->fuse_signal == 0 || request->cell != self->main)
        return refuse(request);
    if (self->fuse_lit)
        return 0; /* a command within another: that one's counts */
    pn_mailbox_flush_dirty(self); /* answers given are not to be lost by it */
    if (tell(request) < 0)
        return -1;
    self->fuse_lit = true;
    if (request->deadline == 0)
        return 0;
    int err = pn_fuse_light(&self->fuse, request->deadline, self->fuse_signal);
    if (err == 0)
        return 0;
    pn_mailbox_put_out(self);
    (void)pn_raise_status(self->state, err);
    return -1;
}

void
pn_mailbox_put_out(MailboxObject *self)
{
    uint64_t number = self->fuse_number;
    self->fuse_lit = false;
    self->fuse_number = 0;
    if (self->fuse.made != 0)
        pn_fuse_put_out(&self->fuse);
    if (number != 0 && self->flight.page != NULL &&
        !pn_recorder_put_out(self->flight.page, number))
        await_end();
}

/* --- at the asker --- */

void
pn_mailbox_doom(MailboxObject *self, const pn_waiter *waiter)
{
    if (!waiter->kill || waiter->target == 0 || self->closed)
        return;
    PyObject *doom = Py_NewRef(self->port.doom);
    PyObject *done = PyObject_CallFunction(
        doom, "KKK", (unsigned long long)waiter->source,
        (unsigned long long)waiter->target, (unsigned long long)waiter->id);
    Py_DECREF(doom);
    if (done == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(done);
}
