/* What a caller wants sent, and how its target and command are found. */
#ifndef PN_PYTHON_SENDING_H
#define PN_PYTHON_SENDING_H

#include "python/scope.h"

/* What a caller wants sent. args and kwargs are borrowed, the rest owned. */
typedef struct {
    CellObject *cell; /* who sends; borrowed */
    uint64_t target;
    PyObject *name; /* of a target that others must resolve, or NULL */
    PyObject *command;
    PyObject *known; /* the BaseCommand of that name here, or NULL */
    PyObject *args;
    PyObject *kwargs;
    PyObject *baggage; /* bytes that travel along, or NULL */
    pn_scope scope;
} pn_sending;

/* The number of a target, and for a name that is not known here 0 and that
 * name: call->name is a new reference, or NULL. 0, or -1 with an exception. */
int pn_sending_resolve(MailboxObject *self, PyObject *target,
                       pn_sending *call);

/* The command: its object in the table, if it is known here, and its name, new
 * references. 0, or -1 with an exception. */
int pn_sending_look_up(MailboxObject *self, PyObject *command,
                       pn_sending *call);

#endif
