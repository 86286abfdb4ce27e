/* What an arbiter does so that two of its nodes get a link of their own. */
#include "base/status.h"
#include "python/mailbox_direct.h"
#include "sys/clock.h"

#include <unistd.h>

/* Put the end of a link, which serial names, on its way. */
static int
put_end(pn_peer *to, uint64_t from, uint64_t link, uint64_t serial)
{
    uint8_t bytes[16];
    pn_extension ext = {.descriptor = serial};
    pn_envelope env = {
        .kind = PN_LINK,
        .source = from,
        .target = to->number,
        .id = link,
        .extension = bytes,
        .extension_size = (uint16_t)pn_extension_size(&ext),
    };
    pn_ref nothing = {0};
    pn_extension_encode(&ext, bytes);
    return pn_outbox_put(&to->link.out, &env, &nothing);
}

/* Both descriptors are attached to a link or closed. */
static int
attach(pn_peer *ends[2], int fds[2], uint64_t serials[2])
{
    int err = pn_link_attach(&ends[0]->link, fds[0], &serials[0]);
    if (err < 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return err;
    }
    err = pn_link_attach(&ends[1]->link, fds[1], &serials[1]);
    if (err < 0) {
        (void)close(fds[1]);
        (void)close(pn_link_retract(&ends[0]->link));
    }
    return err;
}

/* Send both their end. PN_MORE: only the first found memory; the other's is
 * closed, which the first will read. */
static int
put_ends(pn_peer *ends[2], uint64_t link, uint64_t serials[2])
{
    int err = put_end(ends[0], ends[1]->number, link, serials[0]);
    if (err < 0)
        (void)close(pn_link_retract(&ends[0]->link));
    bool first = err == PN_OK;
    if (first)
        err = put_end(ends[1], ends[0]->number, link, serials[1]);
    if (err < 0)
        (void)close(pn_link_retract(&ends[1]->link));
    return first && err < 0 ? PN_MORE : err;
}

static void
schedule(MailboxObject *self, pn_peer *peer)
{
    if (pn_mailbox_schedule(self, peer) < 0)
        pn_mailbox_report(self);
}

void
pn_mailbox_meet(MailboxObject *self, pn_peer *from, pn_peer *to)
{
    const pn_route *source = pn_router_find(&self->router, from->number);
    const pn_route *target = pn_router_find(&self->router, to->number);
    if (!(self->link_idle > 0) || source == NULL || target == NULL)
        return;
    pn_talk *talk = pn_router_talk(source, target);
    if (talk == NULL || talk->pair.link != 0)
        return;
    int64_t now = pn_clock_now();
    if (!pn_pair_may_meet(&talk->pair, now))
        return;
    pn_peer *ends[2] = {from, to};
    uint64_t serials[2];
    int fds[2];
    int err = pn_link_pair(fds);
    if (err == PN_OK)
        err = attach(ends, fds, serials);
    if (err == PN_OK)
        err = put_ends(ends, self->last_link + 1, serials);
    if (err < 0) {
        pn_pair_failed(&talk->pair, now);
        return;
    }
    pn_farewell never = {.link = ++self->last_link};
    pn_pair_met(&talk->pair, never.link, now);
    if (err == PN_MORE)
        (void)pn_pair_closed(&talk->pair, talk->ends[1] == target, &never,
                             now);
    schedule(self, from);
    schedule(self, to);
}

bool
pn_mailbox_note_farewell(MailboxObject *self, const pn_part *part)
{
    const pn_envelope *env = &part->env;
    const pn_route *source = pn_router_find(&self->router, env->source);
    const pn_route *target = pn_router_find(&self->router, env->target);
    pn_farewell farewell;
    if (source == NULL || target == NULL ||
        pn_farewell_decode(&farewell, env->id, part->payload, part->size) < 0)
        return false;
    pn_talk *talk = pn_router_talk(source, target);
    if (talk == NULL)
        return false;
    int end = talk->ends[1] == source;
    return pn_pair_closed(&talk->pair, end, &farewell, pn_clock_now());
}
