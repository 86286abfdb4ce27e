/* Functions of the module: the end of an actor as PN_DOWN tells it. */
#ifndef PN_PYTHON_DOWN_H
#define PN_PYTHON_DOWN_H

#include "python/state.h"

/* For module.c's table: adds dump_down and load_down. 0, or -1 with an
 * exception set. */
int pn_add_down(PyObject *module, pn_state *state);

#endif
