/* Payloads of messages: on their way out, and when they have come. */
#include "python/mailbox_payload.h"
#include "base/status.h"
#include "python/error.h"
#include "python/mailbox_flight.h"

#include <string.h>

void
pn_mailbox_extend(pn_envelope *env, const pn_extension *ext,
                  pn_extension_bytes *room)
{
    size_t size = pn_extension_size(ext);
    if (size == 0)
        return;
    pn_extension_encode(ext, room->bytes);
    env->extension = room->bytes;
    env->extension_size = (uint16_t)size;
}

/* A message whose payload lies in a segment: only the envelope travels. */
static int
put_lent(MailboxObject *self, pn_peer *peer, pn_envelope *env,
         const pn_extension *ext)
{
    pn_extension_bytes room;
    pn_ref nothing = {0};
    pn_mailbox_extend(env, ext, &room);
    int err = pn_outbox_put(&peer->link.out, env, &nothing);
    if (err == PN_OK) {
        pn_flight_sent(self, env, ext->segment_used);
        return pn_mailbox_schedule(self, peer);
    }
    pn_mailbox_take_back(peer, ext);
    (void)pn_raise_status(self->state, err);
    return -1;
}

static int
put_packed(MailboxObject *self, pn_way way, pn_envelope *env,
           const pn_extension *ext, pn_parcel *parcel, PyObject *known)
{
    pn_extension_bytes room;
    pn_ref payload;
    pn_mailbox_extend(env, ext, &room);
    int err = pn_parcel_pack(parcel, &payload);
    if (err < 0) {
        (void)pn_raise_status(self->state, err);
        return -1;
    }
    if (way.box == NULL)
        return pn_mailbox_put(self, way, env, payload);
    return pn_mailbox_put_near(self, way.box, env, payload, NULL, known);
}

int
pn_mailbox_put_parcel(MailboxObject *self, pn_way way, pn_envelope *env,
                      pn_extension *ext, pn_parcel *parcel, PyObject *known)
{
    pn_parcel_sizes sizes;
    if (parcel->count > 0)
        pn_parcel_tell(parcel, &sizes, ext);
    int err = way.peer != NULL && way.box == NULL &&
                      pn_mailbox_lend(self, way.peer, env, parcel, ext)
                  ? put_lent(self, way.peer, env, ext)
                  : put_packed(self, way, env, ext, parcel, known);
    pn_parcel_drop(parcel); /* last: it may run anybody's code */
    return err;
}

PyObject *
pn_mailbox_load(MailboxObject *self, const pn_mail *mail)
{
    pn_ref none = {0};
    pn_ref *holder = mail->holder != NULL ? mail->holder : &none;
    if (mail->value != NULL)
        return Py_NewRef(mail->value);
    return pn_parcel_load(self->state, self->port.loads, mail->payload,
                          mail->size, holder, &mail->ext);
}

int
pn_mail_keep(const pn_mail *mail, pn_ref *out)
{
    *out = (pn_ref){0};
    if (mail->value != NULL || mail->size == 0)
        return PN_OK;
    if (mail->holder != NULL && mail->holder->data != NULL) {
        *out = *mail->holder;
        *mail->holder = (pn_ref){0};
        return PN_OK;
    }
    return pn_ref_copy(out, mail->payload, mail->size);
}
