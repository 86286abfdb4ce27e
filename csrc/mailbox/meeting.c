#include "mailbox/meeting.h"

#include "base/status.h"

#define SPOKEN 0x01
#define HEARD_ALL 0x02

void
pn_farewell_encode(const pn_farewell *farewell, uint8_t out[PN_FAREWELL_SIZE])
{
    out[0] = (uint8_t)((farewell->spoken ? SPOKEN : 0) |
                       (farewell->heard_all ? HEARD_ALL : 0));
}

int
pn_farewell_decode(pn_farewell *out, uint64_t link, const uint8_t *bytes,
                   size_t size)
{
    if (size < PN_FAREWELL_SIZE || (bytes[0] & ~(SPOKEN | HEARD_ALL)) != 0)
        return PN_EPROTO;
    *out = (pn_farewell){
        .link = link,
        .spoken = (bytes[0] & SPOKEN) != 0,
        .heard_all = (bytes[0] & HEARD_ALL) != 0,
    };
    return PN_OK;
}

/* --- a node --- */

int
pn_meeting_begin(pn_meeting *meeting, uint64_t link)
{
    if (meeting->link != 0 || link == 0)
        return PN_EPROTO;
    *meeting = (pn_meeting){.link = link};
    return PN_OK;
}

int
pn_meeting_greet(pn_meeting *meeting)
{
    if (meeting->link == 0 || meeting->greeted)
        return PN_EPROTO;
    meeting->greeted = true;
    return PN_OK;
}

void
pn_meeting_speak(pn_meeting *meeting)
{
    meeting->speaks = meeting->spoken = true;
}

bool
pn_meeting_hear(pn_meeting *meeting, uint64_t link)
{
    if (link == 0 || meeting->link != link || meeting->hears)
        return false;
    meeting->hears = true;
    return true;
}

int
pn_meeting_hear_end(pn_meeting *meeting)
{
    if (!meeting->hears || !meeting->greeted || meeting->heard_all)
        return PN_EPROTO;
    meeting->heard_all = true;
    return PN_OK;
}

void
pn_meeting_leave(pn_meeting *meeting)
{
    meeting->speaks = false;
}

pn_farewell
pn_meeting_end(pn_meeting *meeting)
{
    pn_farewell farewell = {
        .link = meeting->link,
        .spoken = meeting->spoken,
        .heard_all = meeting->heard_all,
    };
    *meeting = (pn_meeting){
        .ended = farewell.link,
        .ended_spoken = farewell.spoken,
        .ended_heard_all = farewell.heard_all,
    };
    return farewell;
}

bool
pn_meeting_farewell(pn_meeting *meeting, const pn_farewell *theirs)
{
    if (theirs->link == 0 || meeting->ended != theirs->link)
        return false;
    bool lost = (meeting->ended_spoken && !theirs->heard_all) ||
                (theirs->spoken && !meeting->ended_heard_all);
    meeting->ended = 0;
    return lost;
}

bool
pn_meeting_check(const pn_meeting *meeting)
{
    bool none = meeting->link == 0;
    if (none && (meeting->greeted || meeting->spoken || meeting->hears))
        return false;
    return (!meeting->speaks || meeting->spoken) &&
           (!meeting->spoken || meeting->greeted) &&
           (!meeting->heard_all || (meeting->hears && meeting->greeted));
}

/* --- the arbiter --- */

bool
pn_pair_may_meet(const pn_pair *pair, int64_t now)
{
    return pair->link == 0 && now >= pair->not_before;
}

void
pn_pair_met(pn_pair *pair, uint64_t link, int64_t now)
{
    pair->link = link;
    pair->made = now;
    pair->well = true;
    pair->closed[0] = pair->closed[1] = false;
}

void
pn_pair_failed(pn_pair *pair, int64_t now)
{
    pair->link = 0;
    pair->wait = pair->wait == 0 ? PN_PAIR_WAIT : pair->wait * 2;
    if (pair->wait > PN_PAIR_WAIT_MAX)
        pair->wait = PN_PAIR_WAIT_MAX;
    pair->not_before = now + pair->wait;
}

/* Both ends are closed. */
static void
part(pn_pair *pair, int64_t now)
{
    pair->link = 0;
    if (pair->well || now - pair->made > PN_PAIR_WAIT_MAX)
        pair->wait = 0;
    if (!pair->well)
        pn_pair_failed(pair, now);
}

bool
pn_pair_closed(pn_pair *pair, int end, const pn_farewell *farewell,
               int64_t now)
{
    if (farewell->link == 0 || pair->link != farewell->link ||
        pair->closed[end])
        return false;
    pair->closed[end] = true;
    pair->well = pair->well && farewell->heard_all;
    if (pair->closed[1 - end])
        part(pair, now);
    return true;
}
