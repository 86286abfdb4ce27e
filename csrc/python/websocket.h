/* What the module offers for WebSockets beside the types: CLOSE_CODES,
 * close_code_is_valid(), apply_mask(), mask_in_place(). */
#ifndef PN_PYTHON_WEBSOCKET_H
#define PN_PYTHON_WEBSOCKET_H

#include "python/state.h"

/* The text that goes with a close code of RFC 6455, or NULL. It lives for
 * ever. */
const char *pn_close_text(long code);

/* For module.c's table. 0, or -1 with an exception set. */
int pn_add_websocket(PyObject *module, pn_state *state);

#endif
