/* Commands that cost their process when they are past their deadline, or when
 * nobody wants their answer any more. The kernel's timers see to the one
 * (fuse.h), the arbiter, by the process's flight recorder, to the other. */
#ifndef PN_PYTHON_MAILBOX_FUSE_H
#define PN_PYTHON_MAILBOX_FUSE_H

#include "python/command.h"
#include "python/request.h"

int pn_mailbox_light_fuse(RequestObject *request);
void pn_mailbox_put_out(MailboxObject *self);

/* At the asker: nobody waits for that any more, and what works for it may be
 * ended. */
void pn_mailbox_doom(MailboxObject *self, const pn_waiter *waiter);

/* The request's command is about to run: from now on, until pn_fuse_end, the
 * process ends at the deadline if that is asked for. 0, or -1 with an
 * exception: it may not run. */
static inline int
pn_fuse_begin(RequestObject *request, const BaseCommandObject *command)
{
    if (!request->kill && !command->kill)
        return 0;
    return pn_mailbox_light_fuse(request);
}

/* It runs no longer, or has left only a task. request may be NULL. */
static inline void
pn_fuse_end(const RequestObject *request)
{
    if (request != NULL && request->cell->mailbox->fuse_lit)
        pn_mailbox_put_out(request->cell->mailbox);
}

#endif
