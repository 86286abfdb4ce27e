/* The type Spinner: pn_spin for a Python selector, and for a mailbox whose
 * loop has another selector. */
#ifndef PN_PYTHON_SPINNER_H
#define PN_PYTHON_SPINNER_H

#include "python/state.h"

#include <stdbool.h>

/* Look at its descriptor until it is ready, which is true, or it is time to
 * sleep. The GIL is released meanwhile. */
bool pn_spinner_spin(PyObject *op);

/* After the sleep that followed a false. */
void pn_spinner_woke(PyObject *op);

int pn_add_spinner(PyObject *module, pn_state *state);

#endif
