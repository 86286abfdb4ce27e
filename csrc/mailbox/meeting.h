/* Two nodes that talk: over the arbiter's relay at first, then over a direct
 * link, and over the relay again when that has been idle or is lost. The
 * states of it, without the link; docs/protocol.md has the whole story. Loop
 * thread only.
 *
 * pn_meeting is a node's view of its meeting with one other node:
 *   - a node speaks over the link only when the other's hello has come over
 *     it, so both have their end; its SWITCH has gone over the relay then,
 *     behind all that it said there;
 *   - it hears the link, beyond the hello, only when the other's SWITCH has
 *     come over the relay;
 *   - it speaks over the relay again only behind a SWITCH over the link, or
 *     when its end is closed; so what is relayed while it hears the link, and
 *     is not addressed by name, tells that the link holds all that there was:
 *     it is read to its end first;
 *   - each node tells once how its end of a link closed, a farewell that the
 *     arbiter passes on; a link has a number, so that no word of an earlier
 *     one is taken for this one's.
 *
 * pn_pair is what the arbiter knows of two nodes: there is one link between
 * them at most, and the next is made when both ends of the last are closed. */
#ifndef PN_MAILBOX_MEETING_H
#define PN_MAILBOX_MEETING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t link;  /* its number; 0: none, all is relayed */
    bool greeted;   /* the other's hello has come over it */
    bool speaks;    /* what this node says goes over it */
    bool spoken;    /* it has ever gone over it */
    bool hears;     /* what comes over it is read */
    bool heard_all; /* the other speaks over the relay again */
    uint64_t ended; /* the link before, until the other's farewell comes; 0 */
    bool ended_spoken;
    bool ended_heard_all;
} pn_meeting;

/* How a node's end of a link closed. */
typedef struct {
    uint64_t link;
    bool spoken;    /* this node had spoken over it */
    bool heard_all; /* it had heard all that the other said over it */
} pn_farewell;

#define PN_FAREWELL_SIZE 1 /* as payload; the link's number is the id */

void pn_farewell_encode(const pn_farewell *farewell,
                        uint8_t out[PN_FAREWELL_SIZE]);

/* PN_EPROTO where the bytes are none. */
int pn_farewell_decode(pn_farewell *out, uint64_t link, const uint8_t *bytes,
                       size_t size);

/* --- a node --- */

/* The arbiter gave an end of link. PN_EPROTO: there is one already, or 0. */
int pn_meeting_begin(pn_meeting *meeting, uint64_t link);

/* The other's hello has come over the link; SWITCH is to be said over the
 * relay, then pn_meeting_speak. PN_EPROTO: it has come before. */
int pn_meeting_greet(pn_meeting *meeting);

/* This node's SWITCH has been said over the relay. */
void pn_meeting_speak(pn_meeting *meeting);

/* The other's SWITCH to this link has come over the relay. Whether the link
 * is to be read now; false for a word of an earlier link. */
bool pn_meeting_hear(pn_meeting *meeting, uint64_t link);

/* The other's SWITCH has come over the link. PN_EPROTO: it never began. */
int pn_meeting_hear_end(pn_meeting *meeting);

/* Whether this node should say SWITCH over the link as soon as it can, for
 * the other has. */
static inline bool
pn_meeting_must_leave(const pn_meeting *meeting)
{
    return meeting->speaks && meeting->heard_all;
}

/* This node's SWITCH has left over the link, and nothing follows it. */
void pn_meeting_leave(pn_meeting *meeting);

/* Whether nothing will pass over the link any more: its end is to be closed,
 * and told by pn_meeting_end. */
static inline bool
pn_meeting_is_over(const pn_meeting *meeting)
{
    return meeting->heard_all && !meeting->speaks;
}

/* The link's end here is closed, by whatever cause: what to tell of it. */
pn_farewell pn_meeting_end(pn_meeting *meeting);

/* The other's farewell has come; a link that is still open here has been read
 * to its end, and ended, before. Whether words of either may have been lost
 * with it: asks to that node which were said before the end here are to fail,
 * for their answer may never come. */
bool pn_meeting_farewell(pn_meeting *meeting, const pn_farewell *theirs);

/* For tests: whether the invariants above hold. */
bool pn_meeting_check(const pn_meeting *meeting);

/* --- the arbiter --- */

/* After a link that could not be made, or that an end closed without having
 * heard all, the next is not tried before PN_PAIR_WAIT; twice that the next
 * time, and so on, until a link has lived PN_PAIR_WAIT_MAX or ended well. */
#define PN_PAIR_WAIT 100000000
#define PN_PAIR_WAIT_MAX 60000000000

typedef struct {
    uint64_t link;  /* its number; 0: none */
    bool well;      /* who has closed it had heard all */
    bool closed[2]; /* ends of which the farewell has come */
    int64_t made;   /* monotonic ns */
    int64_t not_before;
    int64_t wait;
} pn_pair;

/* Whether a link may be made now. */
bool pn_pair_may_meet(const pn_pair *pair, int64_t now);

/* Both ends of link are on their way. */
void pn_pair_met(pn_pair *pair, uint64_t link, int64_t now);

/* The link could not be made. */
void pn_pair_failed(pn_pair *pair, int64_t now);

/* A farewell has come from one end (0 or 1). Whether it is to be passed on:
 * not if it is of another link, or told before. */
bool pn_pair_closed(pn_pair *pair, int end, const pn_farewell *farewell,
                    int64_t now);

#endif
