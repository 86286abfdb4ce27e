/* The type Cell: one actor's end of messaging inside a node, which is a
 * Mailbox. Small, for a node may have a hundred thousand of them: what an
 * actor without messages does not need is made when it is. Belongs to the
 * thread of its mailbox. */
#ifndef PN_PYTHON_CELL_H
#define PN_PYTHON_CELL_H

#include "mailbox/waiting.h"
#include "python/mailbox.h"

typedef struct CellObject {
    PyObject_HEAD MailboxObject *mailbox; /* strong */
    uint64_t number;
    PyObject *actor;       /* NULL until somebody asks for it */
    PyObject *instance;    /* of a user's class, or NULL */
    PyObject *methods;     /* dict: command name -> BaseCommand, or NULL */
    PyObject *context;     /* commands run in copies of it; NULL: mailbox's */
    PyObject *tasks;       /* set of command tasks; NULL until there is one */
    pn_waiting *waiting;   /* letters; NULL until one must wait */
    uint32_t inflight;     /* requests that have begun and not ended */
    uint32_t max_inflight; /* 0: no limit */
    uint64_t handled;      /* commands run */
    uint64_t failed;       /* of them, those that raised */
    uint64_t expired;      /* asks whose deadline passed before they ran */
    uint64_t dead_letters; /* tells that reached nobody */
    char ending;           /* bool: its actor cancels its commands */
    bool gone;             /* it has ended: nothing more is run */
} CellObject;

int pn_add_cell(PyObject *module, pn_state *state);

/* A new cell of mailbox. actor may be NULL. New reference or NULL. */
CellObject *pn_cell_new(MailboxObject *mailbox, uint64_t number,
                        PyObject *actor);

/* The cell of this number, borrowed; NULL if this node has none. */
CellObject *pn_mailbox_cell(MailboxObject *self, uint64_t number);

/* Its actor, made now if it was not yet. New reference or NULL. */
PyObject *pn_cell_actor(CellObject *cell);

/* The set of its tasks, made now if it was not yet; borrowed, or NULL. */
PyObject *pn_cell_tasks(CellObject *cell);

/* Its actor has ended: what waits is refused, what runs is forgotten; their
 * askers hear so. */
void pn_cell_end(CellObject *cell);

/* A request of the cell has ended: begin those that wait for that. */
void pn_cell_advance(CellObject *cell);

/* Let a message wait until another one has ended. 0, or -1 with an
 * exception. */
int pn_cell_hold(CellObject *cell, const pn_mail *mail);

#endif
