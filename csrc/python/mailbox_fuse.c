#include "python/mailbox_fuse.h"

#include "python/error.h"

/* Only an actor that has its process for itself may end it. */
static int
refuse(const RequestObject *request)
{
    PyErr_SetString(request->cell->mailbox->state->command_error,
                    "on_deadline='kill' needs an actor that has a process: a "
                    "thread or a coroutine cannot be killed");
    return -1;
}

int
pn_mailbox_light_fuse(RequestObject *request)
{
    MailboxObject *self = request->cell->mailbox;
    if (self->fuse_signal == 0 || request->cell != self->main)
        return refuse(request);
    pn_mailbox_flush_dirty(self); /* answers given are not to be lost by it */
    if (request->deadline == 0)
        return 0;
    int err = pn_fuse_light(&self->fuse, request->deadline, self->fuse_signal);
    if (err == 0)
        return 0;
    (void)pn_raise_status(self->state, err);
    return -1;
}
