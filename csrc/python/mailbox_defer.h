/* Commands behind tasks that have not begun yet: before 3.12 a task begins in
 * a later turn of the loop, and what came behind it must not begin before. */
#ifndef PN_PYTHON_MAILBOX_DEFER_H
#define PN_PYTHON_MAILBOX_DEFER_H

#include "python/command.h"
#include "python/request.h"

/* An awaitable that calls the command with what it gets first. */
PyObject *pn_mailbox_defer(RequestObject *request,
                           const BaseCommandObject *command, PyObject *first,
                           PyObject *args, PyObject *kwargs);

/* Method of Request, (command, first, args, kwargs or None): the call, as if
 * it had not been deferred. */
PyObject *pn_request_call(PyObject *op, PyObject *args);

#endif
