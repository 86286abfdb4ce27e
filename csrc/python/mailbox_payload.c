/* Payloads of messages: on their way out, and when they have come. */
#include "base/status.h"
#include "python/error.h"
#include "python/mailbox.h"
#include "python/parcel.h"

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

int
pn_mailbox_put_parcel(MailboxObject *self, pn_way way, pn_envelope *env,
                      pn_extension *ext, pn_parcel *parcel, PyObject *known)
{
    pn_extension_bytes room;
    pn_parcel_sizes sizes;
    pn_ref payload;
    if (parcel->count > 0)
        pn_parcel_tell(parcel, &sizes, ext);
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
