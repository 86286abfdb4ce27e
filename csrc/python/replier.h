/* The type Replier: what answers an ask when its command's task is done. */
#ifndef PN_PYTHON_REPLIER_H
#define PN_PYTHON_REPLIER_H

#include "python/mailbox.h"

int pn_add_replier(PyObject *module, pn_state *state);

/* Answer ask id of source with what becomes of task, now if it is done; the
 * mailbox keeps the task until then. id 0: a tell, whose failure is only
 * reported. 0, or -1 with an exception. */
int pn_replier_watch(MailboxObject *mailbox, PyObject *task, uint64_t source,
                     uint64_t id);

#endif
