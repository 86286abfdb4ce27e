/* Futures and exceptions of Python, as the mailbox uses them. */
#ifndef PN_PYTHON_FUTURE_H
#define PN_PYTHON_FUTURE_H

#include "python/state.h"

#include <stdbool.h>

/* Whether the future or task is done; -1 with an exception. */
int pn_future_is_done(pn_state *state, PyObject *future);

/* The exception that is set now, cleared, with its traceback on it. New
 * reference; NULL if none is set. */
PyObject *pn_take_exception(void);

/* Give the future its result, or its exception if failed, unless it is done:
 * a late reply to a cancelled ask is dropped. What the future refuses
 * (StopIteration, say) it gets as the refusal's own exception. 0, or -1 with
 * an exception. */
int pn_future_resolve(pn_state *state, PyObject *future, bool failed,
                      PyObject *value);

#endif
