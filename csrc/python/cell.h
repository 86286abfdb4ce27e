/* The type Cell: one actor's end of messaging inside a node, which is a
 * Mailbox. Small, for a node may have a hundred thousand of them: what an
 * actor without messages does not need is made when it is. Belongs to the
 * thread of its mailbox. */
#ifndef PN_PYTHON_CELL_H
#define PN_PYTHON_CELL_H

#include "mailbox/waiting.h"
#include "python/mailbox.h"

/* What a full mailbox does with a message more. */
typedef enum {
    PN_POLICY_WAIT, /* takes it, and tells those who send to stop */
    PN_POLICY_FAIL, /* refuses it */
    PN_POLICY_DROP, /* takes it, and drops the one that waited longest */
} pn_policy;

/* Settings of a cell, never changed once it has them: most cells of a node
 * share one. */
typedef struct {
    size_t references;
    uint32_t max_inflight; /* requests under way at once; 0: no limit */
    pn_policy policy;
    size_t messages;     /* that may wait, */
    size_t bytes;        /* and their payloads */
    int64_t slow;        /* ns that one may wait unnoticed; 0: any time */
    int64_t ask_timeout; /* ns that an ask may take; 0: any time */
} pn_cell_limits;

/* What waits in a cell. */
typedef struct {
    pn_waiting queue; /* of letters */
    pn_map told;      /* node -> itself: told to send no more, see CREDIT */
} pn_backlog;

typedef struct CellObject {
    PyObject_HEAD MailboxObject *mailbox; /* strong */
    uint64_t number;
    int64_t born;        /* monotonic ns; 0: the node's own */
    PyObject *actor;     /* NULL until somebody asks for it */
    PyObject *instance;  /* of a user's class, or NULL */
    PyObject *methods;   /* dict: command name -> BaseCommand, or NULL */
    PyObject *context;   /* commands run in copies of it; NULL: mailbox's */
    PyObject *tasks;     /* set of command tasks; NULL until there is one */
    pn_backlog *backlog; /* NULL until a message must wait */
    pn_cell_limits *limits;
    struct CellObject *next_ready; /* in the mailbox's list; strong */
    uint32_t inflight;             /* requests that have begun and not ended */
    uint64_t handled;              /* commands run */
    uint64_t failed;               /* of them, those that raised */
    uint64_t expired;      /* asks whose deadline passed before they ran */
    uint64_t dead_letters; /* tells that reached nobody */
    char ending;           /* bool: its actor cancels its commands, and a
                            * coroutine actor begins nothing new */
    char draining;         /* bool: it takes messages only of itself */
    bool gone;             /* it has ended: nothing more is run */
    bool ready;            /* stands in the list of those to be resumed */
    bool stalled;          /* pn_mailbox_list_stalled has told of it */
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

/* --- settings: cell_limits.c --- */

/* The settings that a cell has which is given none. NULL: no memory. */
pn_cell_limits *pn_cell_limits_new(void);

pn_cell_limits *pn_cell_limits_keep(pn_cell_limits *limits);
void pn_cell_limits_drop(pn_cell_limits *limits);

/* Method: change some. */
PyObject *pn_cell_limit(PyObject *op, PyObject *args, PyObject *kwargs);

/* --- messages that wait: cell_wait.c --- */

/* Its actor has ended: what waits is refused, what runs is forgotten; their
 * askers hear so. */
void pn_cell_end(CellObject *cell);

/* How many wait, and their payloads' bytes. */
static inline size_t
pn_cell_waiting(const CellObject *cell)
{
    return cell->backlog == NULL ? 0 : cell->backlog->queue.count;
}

static inline size_t
pn_cell_waiting_bytes(const CellObject *cell)
{
    return cell->backlog == NULL ? 0 : cell->backlog->queue.bytes;
}

/* How many ns the oldest of them has waited; 0 without one. */
int64_t pn_cell_oldest(const CellObject *cell);

/* Whether as many requests as may are under way. */
static inline bool
pn_cell_is_busy(const CellObject *cell)
{
    uint32_t limit = cell->limits->max_inflight;
    return limit != 0 && cell->inflight >= limit;
}

/* A request of the cell has ended: begin those that wait for that, for a
 * while, and others in a later turn of the loop. */
void pn_cell_advance(CellObject *cell);

/* Have those that may begin by now do so in a later turn of the loop. 0, or -1
 * with an exception. */
int pn_cell_make_ready(CellObject *cell);

/* Begin what waits in the cells of which that may be said, in turn. */
void pn_mailbox_run_ready(MailboxObject *self, int64_t deadline);

/* Forget that they are to be resumed. */
void pn_mailbox_drop_ready(MailboxObject *self);

/* Free what waits; nobody hears of it. */
void pn_cell_drop_waiting(CellObject *cell);

/* Let a message wait until another one has ended, or refuse it, as the policy
 * of the cell will have it. 0, or -1 with an exception. */
int pn_cell_hold(CellObject *cell, const pn_mail *mail);

/* --- actors that drain: mailbox_drain.c --- */

/* Whether a command is none of the actor's work: it stops an actor. It does
 * not count as in flight. */
bool pn_mailbox_is_aside(const pn_envelope *env);

/* Whether the command of a message may neither wait nor be turned away. */
bool pn_mailbox_is_urgent(const pn_envelope *env);

/* If that is what a message asks for, its cell or node drains from now on:
 * before the command runs, which may be in a later turn. */
void pn_mailbox_begin_drain(CellObject *cell, const pn_envelope *env);

/* Whether it drains, and does not take this new message: a cell that drains
 * takes messages only of its own actor, one of a node that drains only those
 * of the node, by which what runs there goes on; and "stop" of anybody. */
bool pn_mailbox_turns_away(const CellObject *cell, const pn_envelope *env);

/* It has not run and will not: its asker gets the condition "stopping". */
void pn_mailbox_turn_away(CellObject *cell, const pn_envelope *env);

/* Drop the ask of source that waits, if it does. */
bool pn_cell_drop_ask(CellObject *cell, uint64_t source, uint64_t id);

/* Methods of Mailbox: mailbox_cells.c. */
/* Give back all cells, the own actor's included. */
void pn_mailbox_drop_cells(MailboxObject *self);

PyObject *pn_mailbox_add_cell(PyObject *op, PyObject *unused);
PyObject *pn_mailbox_remove_cell(PyObject *op, PyObject *number);
PyObject *pn_mailbox_get_cell(PyObject *op, PyObject *number);
PyObject *pn_mailbox_list_cells(PyObject *op, PyObject *unused);
PyObject *pn_mailbox_list_stalled(PyObject *op, PyObject *unused);

#define PN_BUSY_DOC                                                           \
    "busy($self, /)\n--\n\n"                                                  \
    "Whether a request is under way, or a message waits, in any cell."

PyObject *pn_mailbox_is_busy(PyObject *op, PyObject *unused);

/* Whether number would be an actor of this node, and there is none. */
bool pn_mailbox_lacks(MailboxObject *self, uint64_t number);

#endif
