/* The type Lives: pn_lives, in float seconds. */
#ifndef PN_PYTHON_LIVES_H
#define PN_PYTHON_LIVES_H

#include "python/state.h"

int pn_add_lives(PyObject *module, pn_state *state);

#endif
