/* Functions of the module: the fork server's loop, and process descriptors. */
#ifndef PN_PYTHON_FORKSERVER_H
#define PN_PYTHON_FORKSERVER_H

#include "python/state.h"

/* For module.c's table: adds forkserver_serve, pidfd_open and
 * pidfd_send_signal. 0, or -1 with an exception set. */
int pn_add_forkserver(PyObject *module, pn_state *state);

#endif
