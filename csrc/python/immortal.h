/* What a fork server has loaded, made immortal, so that its children do not
 * write to it: each reference taken or given up would cost a child the copy
 * of a page that it shares with the server. From CPython 3.12 on; before
 * that nothing happens. */
#ifndef PN_PYTHON_IMMORTAL_H
#define PN_PYTHON_IMMORTAL_H

#include "python/state.h"

/* For module.c's table: adds forkserver_freeze. 0, or -1 with an exception
 * set. */
int pn_add_immortal(PyObject *module, pn_state *state);

#endif
