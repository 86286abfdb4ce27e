/* Waiting awake for answers, in a loop whose selector is not ours. */
#ifndef PN_PYTHON_MAILBOX_LINGER_H
#define PN_PYTHON_MAILBOX_LINGER_H

#include "python/mailbox.h"

/* Handle the answers that come while the loop would only sleep: who asks,
 * waits and asks again stays in here for a while; then the loop has a look at
 * all else, and it goes on in the next turn. done is the outcome so far, which
 * is consumed; the result is that of the last dispatch. The GIL is released
 * meanwhile. */
PyObject *pn_mailbox_linger_on(MailboxObject *self, PyObject *done);

/* Method. */
PyObject *pn_mailbox_linger(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs);

#endif
