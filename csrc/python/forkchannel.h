/* ForkChannel: an arbiter's channel to the fork server, as a Python type. */
#ifndef PN_PYTHON_FORKCHANNEL_H
#define PN_PYTHON_FORKCHANNEL_H

#include "python/state.h"

/* For module.c's table. 0, or -1 with an exception set. */
int pn_add_forkchannel(PyObject *module, pn_state *state);

#endif
