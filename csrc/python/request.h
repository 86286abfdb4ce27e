/* The type Request: what a command gets as its first argument. */
#ifndef PN_PYTHON_REQUEST_H
#define PN_PYTHON_REQUEST_H

#include "python/mailbox.h"

int pn_add_request(PyObject *module, pn_state *state);

/* A request of the actor numbered source to this mailbox's actor. */
PyObject *pn_request_new(MailboxObject *mailbox, uint64_t source);

#endif
