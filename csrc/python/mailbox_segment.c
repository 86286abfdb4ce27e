/* Segments: large payloads lie in memory that both ends of a link have mapped.
 * Each end offers segments to the other (sys/segpool.h) and maps those that it
 * is offered (sys/segshelf.h). They carry what one end's node says to the
 * other's, never what is relayed. docs/protocol.md has the words. */
#include "base/alloc.h"
#include "base/status.h"
#include "python/mailbox_payload.h"
#include "sys/clock.h"
#include "sys/segshelf.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>

/* Seconds after which a segment that is not used is dropped. */
#define UNUSED 10.0

/* The payload of a SEGMENT: a word, and for an offer a size. */
enum {
    OFFERED = 1, /* segment `id`, of that size: map it */
    READY = 2,   /* it is mapped, or given back: use it */
    REFUSED = 3, /* it cannot be mapped */
    DROPPED = 4, /* it will not be used again */
};

#define WORD_SIZE 16

/* Say a word of segment id to the far end, with what is flushed next: flushing
 * here could end the link. A word that finds no room is not missed: segments
 * of this link are not used again then. */
static void
say(MailboxObject *self, pn_peer *peer, uint64_t id, uint64_t word,
    uint64_t size, uint64_t descriptor)
{
    pn_extension_bytes room;
    uint64_t payload[2] = {htole64(word), htole64(size)};
    pn_extension ext = {.descriptor = descriptor};
    pn_envelope env = {
        .kind = PN_SEGMENT,
        .source = self->number,
        .target = peer->node,
        .id = id,
    };
    bool busy = self->busy;
    pn_mailbox_extend(&env, &ext, &room);
    self->busy = true;
    if (pn_mailbox_put(self, (pn_way){.peer = peer}, &env,
                       pn_ref_borrowed(payload, sizeof payload)) < 0)
        PyErr_Clear();
    self->busy = busy;
}

/* --- lending --- */

void
pn_mailbox_init_segments(MailboxObject *self)
{
    self->segment_idle = UNUSED;
    self->budget = (pn_segment_budget){
        .byte_limit = PN_SEGMENT_BYTES,
        .count_limit = PN_SEGMENT_COUNT,
    };
}

/* The peer's pool, made now if it was not yet; NULL without memory. */
static pn_segpool *
pool_of(MailboxObject *self, pn_peer *peer)
{
    if (peer->pool == NULL) {
        peer->pool = pn_alloc(sizeof *peer->pool);
        if (peer->pool != NULL)
            pn_segpool_init(peer->pool, &self->budget);
    }
    return peer->pool;
}

/* A payload of that size goes in band; perhaps not the next one. */
static void
offer(MailboxObject *self, pn_peer *peer, size_t size, int64_t now)
{
    pn_segment_offer made;
    uint64_t serial;
    if (pn_segpool_miss(peer->pool, size, now, &made) != PN_OK)
        return;
    if (pn_link_attach(&peer->link, made.fd, &serial) < 0) {
        (void)close(made.fd);
        (void)pn_segpool_refused(peer->pool, made.id, now);
    } else {
        say(self, peer, made.id, OFFERED, made.size, serial);
    }
}

bool
pn_mailbox_lend(MailboxObject *self, pn_peer *peer, const pn_envelope *env,
                const pn_parcel *parcel, pn_extension *ext)
{
    if (parcel->size < PN_SEGMENT_THRESHOLD || self->budget.byte_limit == 0 ||
        !peer->greeted || pn_node_of(env->target) != peer->node)
        return false;
    int64_t now = pn_clock_now();
    pn_segpool *pool = pool_of(self, peer);
    pn_pooled *pooled =
        pool == NULL ? NULL : pn_segpool_take(pool, parcel->size, now);
    if (pooled == NULL) {
        if (pool != NULL)
            offer(self, peer, parcel->size, now);
        return false;
    }
    pn_parcel_copy(parcel, pooled->data);
    ext->segment = pooled->id;
    ext->segment_size = pooled->size;
    ext->segment_used = parcel->size;
    return true;
}

void
pn_mailbox_take_back(pn_peer *peer, const pn_extension *ext)
{
    (void)pn_segpool_ready(peer->pool, ext->segment, pn_clock_now());
}

/* --- borrowing --- */

int
pn_mailbox_borrow(MailboxObject *self, pn_peer *peer, const pn_extension *ext,
                  pn_ref *out)
{
    if (peer->shelf == NULL)
        return PN_EPROTO;
    int err = pn_segshelf_lend(peer->shelf, ext->segment,
                               (size_t)ext->segment_used, out);
    if (err < 0)
        return err;
    peer->loans++;
    self->loans++;
    return PN_OK;
}

/* Map what is offered, and answer. A failure closes the link. */
static int
take_offer(MailboxObject *self, pn_peer *peer, const pn_mail *mail,
           uint64_t size)
{
    if (peer->shelf == NULL) {
        peer->shelf = pn_segshelf_new(PN_SEGMENT_BYTES, PN_SEGMENT_COUNT);
        if (peer->shelf == NULL)
            return PN_ENOMEM;
        peer->next_lender = self->lenders;
        self->lenders = peer;
    }
    int fd = mail->ext.descriptor == 0
                 ? -1
                 : pn_link_claim(&peer->link, mail->ext.descriptor);
    int err = pn_segshelf_add(peer->shelf, mail->env.id, (size_t)size, fd);
    if (err == PN_EPROTO)
        return err;
    say(self, peer, mail->env.id, err == PN_OK ? READY : REFUSED, 0, 0);
    return PN_OK;
}

int
pn_mailbox_hear_segment(MailboxObject *self, pn_peer *peer,
                        const pn_mail *mail)
{
    uint64_t words[2];
    uint64_t id = mail->env.id;
    if (mail->size != WORD_SIZE || pn_node_of(mail->env.source) != peer->node)
        return PN_EPROTO;
    memcpy(words, mail->payload, sizeof words);
    switch (le64toh(words[0])) {
    case OFFERED:
        return take_offer(self, peer, mail, le64toh(words[1]));
    case READY:
        return peer->pool == NULL
                   ? PN_EPROTO
                   : pn_segpool_ready(peer->pool, id, pn_clock_now());
    case REFUSED:
        return peer->pool == NULL
                   ? PN_EPROTO
                   : pn_segpool_refused(peer->pool, id, pn_clock_now());
    case DROPPED:
        return peer->shelf == NULL ? PN_EPROTO
                                   : pn_segshelf_drop(peer->shelf, id);
    default:
        return PN_EPROTO;
    }
}

/* --- giving back --- */

static void
give_back(MailboxObject *self)
{
    uint64_t id;
    for (pn_peer *peer = self->lenders; peer != NULL;
         peer = peer->next_lender) {
        while (peer->loans > 0 && pn_segshelf_returned(peer->shelf, &id)) {
            peer->loans--;
            self->loans--;
            say(self, peer, id, READY, 0, 0);
        }
    }
}

/* Drop what was used last before that time. */
static void
expire(MailboxObject *self, int64_t before)
{
    uint64_t id;
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL) {
        pn_peer *peer = entry->value;
        while (peer->pool != NULL &&
               pn_segpool_expire(peer->pool, before, &id))
            say(self, peer, id, DROPPED, 0, 0);
    }
}

void
pn_mailbox_tend_segments(MailboxObject *self)
{
    if (self->loans > 0)
        give_back(self);
    if (self->budget.count == 0)
        return;
    int64_t now = pn_clock_now();
    bool ever = self->segment_idle < 1e9; /* nor is it NaN */
    int64_t idle = ever ? (int64_t)(self->segment_idle * 1e9) : INT64_MAX;
    if (now - self->segments_seen < idle)
        return;
    self->segments_seen = now;
    expire(self, now - idle);
}

void
pn_mailbox_drop_segments(MailboxObject *self, pn_peer *peer)
{
    pn_peer **at = &self->lenders;
    while (*at != NULL && *at != peer)
        at = &(*at)->next_lender;
    if (*at == peer)
        *at = peer->next_lender;
    self->loans -= peer->loans;
    peer->loans = 0;
    pn_segshelf_close(peer->shelf);
    peer->shelf = NULL;
    if (peer->pool != NULL)
        pn_segpool_free(peer->pool);
    pn_free(peer->pool);
    peer->pool = NULL;
}
