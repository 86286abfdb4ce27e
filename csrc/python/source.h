/* The type Source: the end of a stream where its items come from. The task
 * that runs the command holds it, and puts in item by item; the credit of the
 * consumer tells when it must stop. */
#ifndef PN_PYTHON_SOURCE_H
#define PN_PYTHON_SOURCE_H

#include "mailbox/window.h"
#include "python/request.h"

typedef struct SourceObject {
    PyObject_HEAD RequestObject *request; /* strong; borrows this one back */
    pn_credit credit;
    PyObject *waiter; /* future of the task, which waits for credit, or NULL */
    int64_t turn_began; /* monotonic ns: when the task was last at rest */
} SourceObject;

int pn_add_source(PyObject *module, pn_state *state);

/* A source that answers the request. New reference or NULL. */
PyObject *pn_source_new(RequestObject *request, uint64_t window);

/* Whether a command that gave this value streams: asynchronous iterators and
 * generators do. */
bool pn_source_fits(PyObject *value);

/* The consumer of ask id of source has taken so many items, says mail. */
void pn_source_grant(MailboxObject *mailbox, const pn_mail *mail);

/* Cancel the tasks of streams to actors of this node, which has ended. */
void pn_source_orphan(MailboxObject *mailbox, uint64_t node);

#endif
