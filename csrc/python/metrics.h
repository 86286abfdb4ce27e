/* What the commands of a node do, by command: how often, how long, how many
 * failed. One table for all actors of the node, kept by its mailbox. */
#ifndef PN_PYTHON_METRICS_H
#define PN_PYTHON_METRICS_H

#include "mailbox/histogram.h"
#include "python/request.h"

/* Commands beyond these are not told apart, nor counted here. */
#define PN_METRICS_LIMIT 1024

/* Lives as long as the mailbox does. */
typedef struct pn_record {
    PyObject *command; /* a BaseCommand; strong, its address is the key */
    uint64_t failed;
    pn_histogram took;
} pn_record;

/* The request runs this command from now, monotonic ns, on. */
void pn_metrics_begin(RequestObject *request, PyObject *command, int64_t now);

/* It has ended. Twice is once. */
void pn_metrics_end(RequestObject *request, int64_t now, bool failed);

/* The command took so many nanoseconds in one go: whether it is slow. */
void pn_mailbox_note_duration(MailboxObject *self, PyObject *command,
                              int64_t duration);

int pn_metrics_traverse(MailboxObject *self, visitproc visit, void *arg);

/* Forget the commands; the records stay. */
void pn_metrics_clear(MailboxObject *self);

/* Free the records. */
void pn_metrics_free(MailboxObject *self);

/* Methods of Mailbox. */
PyObject *pn_mailbox_stats(PyObject *op, PyObject *unused);
PyObject *pn_mailbox_commands(PyObject *op, PyObject *unused);

#endif
