/* Frame: a decoded WebSocket frame, as a Python type. */
#ifndef PN_PYTHON_FRAME_H
#define PN_PYTHON_FRAME_H

#include "python/state.h"
#include "ws/frame.h"

/* A Frame with what the header tells; `type` is state->frame_type. Takes over
 * the reference to body (str or bytes), also where it fails; NULL with an
 * exception then. No Python code runs in it. */
PyObject *pn_frame_object(PyTypeObject *type, const pn_frame *header,
                          PyObject *body);

/* For module.c's table. 0, or -1 with an exception set. */
int pn_add_frame(PyObject *module, pn_state *state);

#endif
