/* The type Spinner: pn_spin for a Python selector. */
#ifndef PN_PYTHON_SPINNER_H
#define PN_PYTHON_SPINNER_H

#include "python/state.h"

int pn_add_spinner(PyObject *module, pn_state *state);

#endif
