/* Functions of the module about the machine and this process. */
#ifndef PN_PYTHON_SYSTEM_H
#define PN_PYTHON_SYSTEM_H

#include "python/state.h"

int pn_add_system(PyObject *module, pn_state *state);

#endif
