/* What a caller wants sent, and how its target and command are found. */
#ifndef PN_PYTHON_SENDING_H
#define PN_PYTHON_SENDING_H

#include "python/scope.h"

/* What a caller wants sent. cell, args and kwargs are borrowed, the rest is
 * owned. */
typedef struct {
    CellObject *cell; /* who sends */
    uint64_t target;
    PyObject *name; /* of a target that others must resolve, or NULL */
    PyObject *command;
    PyObject *known; /* the BaseCommand of that name here, or NULL */
    PyObject *args;
    PyObject *kwargs;
    PyObject *baggage; /* bytes that travel along, or NULL */
    /* (args, kwargs, release), if iterators were among them: what is sent in
     * their place, and a callable for the end of the ask; or NULL. */
    PyObject *lent;
    uint64_t window;       /* of a stream; 0: a reply is asked for */
    PyObject *serializer;  /* by which args and kwargs were dumped */
    PyObject *dumped_args; /* what these are then */
    PyObject *dumped_kwargs;
    pn_scope scope;
} pn_sending;

/* Find out all about a call: args are (target, command, args, kwargs). 0, or
 * -1 with an exception and nothing to end. */
int pn_sending_begin(pn_sending *call, CellObject *cell,
                     PyObject *const *args);
void pn_sending_end(pn_sending *call);

/* What was lent is released when the future of the ask is done. 0, or -1 with
 * an exception. */
int pn_sending_end_by(const pn_sending *call, PyObject *future);

/* A tell that lends iterators goes as an ask, since its end releases them; but
 * nobody waits for that. The future of the tell, for that of the ask, which is
 * taken over; NULL with an exception. */
PyObject *pn_sending_told(const pn_sending *call, PyObject *asked);

/* Send it as an ask for which waiter, a future or a sink, stands in the
 * pending table; what cannot be sent is its failure. 0, or -1 with an
 * exception that is the caller's. mailbox_send.c has it. */
int pn_mailbox_ask(MailboxObject *self, const pn_sending *call,
                   PyObject *waiter);

/* Dump the arguments by the command's own serializer, if it has one. 0, or -1
 * with an exception. */
int pn_sending_serialize(pn_sending *call);

#endif
