/* Registration of the type Mailbox. */
#ifndef PN_PYTHON_MAILBOX_TYPE_H
#define PN_PYTHON_MAILBOX_TYPE_H

#include "python/state.h"

int pn_add_mailbox(PyObject *module, pn_state *state);

#endif
