/* Flow between nodes: who takes no more says so (CREDIT), and what is for it
 * waits at its sender. For the files of the type Mailbox. */
#ifndef PN_PYTHON_MAILBOX_PARK_H
#define PN_PYTHON_MAILBOX_PARK_H

#include "python/mailbox.h"
#include "python/parcel.h"

/* What CREDIT says of actor `source`: its mailbox is full, or has room. */
typedef enum {
    PN_STOPPED = 0,
    PN_MAY_GO = 1,
} pn_flow;

/* Tell a node, which may be this one, about actor `source` of this node;
 * depth is its max_inflight. Whether it was told. */
bool pn_mailbox_send_credit(MailboxObject *self, uint64_t node,
                            uint64_t source, pn_flow credit, uint32_t depth);

/* A CREDIT has come. */
void pn_mailbox_hear_credit(MailboxObject *self, const pn_mail *mail);

/* A link to a node was lost, and perhaps its word that there is room. */
void pn_mailbox_forget_credit(MailboxObject *self, uint64_t node);

/* Whether a message for target must be parked. */
static inline bool
pn_mailbox_must_park(const MailboxObject *self, uint64_t target)
{
    return pn_park_is_closed(&self->park, target);
}

/* Whether an ask with this chain, if parked, would wait for itself. */
bool pn_mailbox_is_parked_for_ever(const MailboxObject *self, uint64_t target,
                                   const pn_extension *ext);

/* Park a message: its arguments are value or else in parcel, which is
 * consumed, whatever the result; waiter is the future of a tell that is None
 * once it is parked no longer, or NULL. 0, or -1 with an exception; *full
 * tells that instead too much is parked. */
int pn_mailbox_park(MailboxObject *self, pn_envelope *env, pn_extension *ext,
                    pn_parcel *parcel, PyObject *value, PyObject *known,
                    PyObject *waiter, bool *full);

/* Drop ask id if it is parked: it has never left. */
bool pn_mailbox_drop_parked(MailboxObject *self, uint64_t id);

/* Drop what is parked for actors of a node, or all; tells are dead letters. */
void pn_mailbox_drop_parked_for(MailboxObject *self, uint64_t node, bool all);

/* Put on its way what may go, as far as there is room. */
void pn_mailbox_unpark(MailboxObject *self);

/* The way of something parked may have room now, or be another one: look at
 * it in this dispatch or the next turn. */
void pn_mailbox_look_at_park(MailboxObject *self);

/* The outbox of peer was flushed. */
void pn_mailbox_note_room(MailboxObject *self, pn_peer *peer);

#endif
