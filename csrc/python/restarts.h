/* The type Restarts: pn_restarts, in float seconds. */
#ifndef PN_PYTHON_RESTARTS_H
#define PN_PYTHON_RESTARTS_H

#include "python/state.h"

int pn_add_restarts(PyObject *module, pn_state *state);

#endif
