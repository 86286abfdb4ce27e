/* Futures and exceptions of Python, as the mailbox uses them. */
#ifndef PN_PYTHON_FUTURE_H
#define PN_PYTHON_FUTURE_H

#include "python/state.h"

/* Whether the future or task is done; -1 with an exception. */
int pn_future_is_done(PyObject *future);

/* The exception that is set now, cleared, with its traceback on it. New
 * reference; NULL if none is set. */
PyObject *pn_take_exception(void);

/* Call the future's method, set_result or set_exception, with value, unless
 * it is done: a late reply to a cancelled ask is dropped. What the future
 * refuses (StopIteration, say) it gets as the refusal's own exception. 0, or
 * -1 with an exception. */
int pn_future_resolve(PyObject *future, const char *method, PyObject *value);

#endif
