/* The type Request: what a command gets first, and the record of it while it
 * runs. */
#ifndef PN_PYTHON_REQUEST_H
#define PN_PYTHON_REQUEST_H

#include "python/cell.h"

typedef struct RequestObject {
    PyObject_HEAD CellObject *cell; /* strong */
    PyObject *caller;               /* made when asked for */
    PyObject *progress;             /* the same */
    PyObject *task;                 /* while it runs; strong */
    PyObject *baggage;              /* bytes, or NULL */
    PyObject *serializer;           /* by which it came and is answered */
    uint64_t source;
    uint64_t id;                 /* 0: nobody waits for an answer */
    int64_t deadline;            /* monotonic ns, or 0 */
    uint8_t *chain;              /* PN_CHAIN_LIMIT numbers of room, or NULL */
    size_t chain_count;          /* actors that wait for this request to end */
    struct RequestObject *ended; /* in a list of pn_cell_end */
    struct RequestObject *next;  /* in the mailbox's `running`, of one key */
    struct SourceObject *stream; /* that answers it, borrowed; or NULL */
    struct pn_record *record;    /* of its command, until it ends */
    int64_t began;               /* monotonic ns */
    bool running;                /* stands in that table */
    bool aside;                  /* does not count as in flight */
    bool kill;                   /* past its deadline it costs its process */
    char cancelled;              /* bool: nobody wants its answer any more */
} RequestObject;

int pn_add_request(PyObject *module, pn_state *state);

/* The request that this message is. New reference or NULL. */
RequestObject *pn_request_new(CellObject *cell, const pn_mail *mail);

/* It runs as this task, or in a thread (task NULL), from now on; it can be
 * found and counts as in flight, unless it is aside. 0, or -1 with an
 * exception. */
int pn_request_begin(RequestObject *request, PyObject *task);

/* It runs no longer. Twice is once. */
void pn_request_end(RequestObject *request);

/* The request that runs for ask id of source, borrowed, or NULL. */
RequestObject *pn_request_find(MailboxObject *mailbox, uint64_t source,
                               uint64_t id);

/* The key of such an ask in `running` and `recalled`: several may share it. */
uint64_t pn_request_key(uint64_t source, uint64_t id);

#endif
