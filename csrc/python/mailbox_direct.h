/* Direct links of a mailbox: mailbox_direct.c, and mailbox_meet.c at the
 * arbiter. */
#ifndef PN_PYTHON_MAILBOX_DIRECT_H
#define PN_PYTHON_MAILBOX_DIRECT_H

#include "python/mailbox.h"

/* Whether what comes over the link stays unread for now. */
static inline bool
pn_direct_is_deaf(const pn_peer *peer)
{
    const pn_neighbour *other = peer->neighbour;
    return other != NULL && peer->greeted &&
           (!other->meeting.hears || other->meeting.heard_all);
}

/* Whether what is for the other node goes over the link. */
static inline bool
pn_direct_may_speak(const pn_peer *peer)
{
    return peer->neighbour == NULL || peer->neighbour->meeting.speaks;
}

/* Direct links over which this node speaks. */
size_t pn_direct_count(const MailboxObject *self);

/* Whether the node has an open end of a direct link. */
bool pn_direct_is_open(const MailboxObject *self, uint64_t node);

/* The hello of a direct link has come and was right so far. 0 or a negative
 * status if the link must be closed; so with the next two. */
int pn_direct_greeted(MailboxObject *self, pn_peer *peer,
                      const pn_envelope *env);

/* A SWITCH or LINK has come from peer. */
int pn_direct_switch(MailboxObject *self, pn_peer *peer,
                     const pn_envelope *env);
int pn_direct_link(MailboxObject *self, pn_peer *peer, const pn_mail *mail);

/* Whether the link to the source of a relayed message is to be read to its
 * end first; and that. As pn_mailbox_read_once. */
bool pn_direct_must_read(const MailboxObject *self, const pn_envelope *env);
void pn_direct_read(MailboxObject *self, uint64_t node);

/* The node has ended: read what it has said, and forget it. */
void pn_direct_down(MailboxObject *self, uint64_t node);

/* All has left that waited: do what was to be done then. May bury peer. */
void pn_direct_settle(MailboxObject *self, pn_peer *peer);

/* A direct link is gone or must go. */
void pn_direct_lose(MailboxObject *self, pn_peer *peer, int status);

/* A look at whether the link to node is idle was due. */
void pn_direct_look(MailboxObject *self, uint64_t node, int64_t due);

/* Whether that look is settled, for its link has ended. */
bool pn_direct_is_settled(const MailboxObject *self, uint64_t node,
                          int64_t due);

/* Forget all neighbours; their links are hung up. */
void pn_direct_drop_all(MailboxObject *self);

/* A message of from was passed on to `to`: see that the two have a link of
 * their own, if it is time for that. */
void pn_mailbox_meet(MailboxObject *self, pn_peer *from, pn_peer *to);

/* A node has told how its end of a direct link closed. Whether that is to be
 * passed on. */
bool pn_mailbox_note_farewell(MailboxObject *self, const pn_part *part);

#endif
