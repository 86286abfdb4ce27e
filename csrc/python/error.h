/* Status codes of the engine as Python exceptions. */
#ifndef PN_PYTHON_ERROR_H
#define PN_PYTHON_ERROR_H

#include "python/state.h"

/* Set the exception for a negative status and return NULL: MemoryError for
 * PN_ENOMEM, OSError with its errno for system errors, ProtocolError for
 * PN_EPROTO, PN_ETOOBIG and PN_EUTF8, PulsarException for the rest. */
PyObject *pn_raise_status(pn_state *state, int status);

#endif
