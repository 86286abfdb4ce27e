/* The type Replier: what answers an ask when its command's task is done. */
#ifndef PN_PYTHON_REPLIER_H
#define PN_PYTHON_REPLIER_H

#include "python/request.h"

int pn_add_replier(PyObject *module, pn_state *state);

/* Answer the request with what becomes of task, now if it is done; its cell
 * keeps the task until then. 0, or -1 with an exception. */
int pn_replier_watch(RequestObject *request, PyObject *task);

#endif
