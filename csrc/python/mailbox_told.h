/* Tells whose senders are to wait: each was accepted, and is parked or stands
 * behind much else on its way. For the files of the type Mailbox. */
#ifndef PN_PYTHON_MAILBOX_TOLD_H
#define PN_PYTHON_MAILBOX_TOLD_H

#include "python/mailbox.h"

/* One of them. Owned by its mailbox, in `told`; a parked letter knows its own.
 */
typedef struct pn_told {
    struct pn_told *next;
    struct pn_told *previous;
    PyObject *future;
    const pn_peer *peer; /* whose outbox is to empty, only compared; */
    pn_box *box;         /* or the box; one reference. Neither: parked */
} pn_told;

/* Keep the future of a tell to be parked. NULL: no memory. */
pn_told *pn_mailbox_keep_told(MailboxObject *self, PyObject *future);

/* Its letter is parked no longer: the future is None, but for a mailbox that
 * is closed. told may be NULL. */
void pn_mailbox_end_told(MailboxObject *self, pn_told *told);

/* A tell to target was put on its way: its future is None now or, if there is
 * much before it, or unread mail in our own box, later. */
void pn_mailbox_settle_told(MailboxObject *self, uint64_t target,
                            PyObject *future);

/* The outbox of peer was flushed, or it is lost: those to end now, linked by
 * next, or NULL. */
pn_told *pn_mailbox_take_told(MailboxObject *self, pn_peer *peer);

/* End those. May call the loop. */
void pn_mailbox_end_taken(MailboxObject *self, pn_told *list);

/* If a box has become empty enough: see which. */
void pn_mailbox_look_at_boxes(MailboxObject *self);

/* End all that stand on their ways; with unseen, without a word. */
void pn_mailbox_drop_told(MailboxObject *self, bool unseen);

#endif
