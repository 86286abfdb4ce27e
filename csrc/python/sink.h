/* The type Sink: the end of a stream where its items arrive and wait to be
 * taken. In the mailbox's pending table it stands where the future of an ask
 * would, so a stream ends by whatever ends an ask: its
 * answer, the end of its source, its deadline, the end of the mailbox.
 *   - items wait in the order of their coming, at most the window of them;
 *   - it ends once; what came before is still taken, then the failure once;
 *   - who has left takes nothing more. */
#ifndef PN_PYTHON_SINK_H
#define PN_PYTHON_SINK_H

#include "mailbox/window.h"
#include "python/mailbox.h"

typedef struct {
    PyObject *value; /* strong */
    size_t size;
} pn_item;

typedef struct SinkObject {
    PyObject_HEAD MailboxObject *mailbox; /* strong */
    uint64_t cell;   /* the number of the actor that reads it */
    uint64_t id;     /* of the ask; 0: not sent, or ended */
    uint64_t source; /* whom the items come from; 0: none has come */
    pn_taken taken;
    pn_item *items; /* a ring of capacity places */
    size_t capacity;
    size_t first;
    size_t count;
    PyObject *waiter; /* future of who waits for an item; strong, or NULL */
    PyObject *error;  /* what it failed with, until somebody took that */
    PyObject *on_end; /* called without arguments when it ends, or NULL */
    bool ended;
} SinkObject;

int pn_add_sink(PyObject *module, pn_state *state);

/* A sink of this actor, whose ask is to be sent. New reference or NULL. */
SinkObject *pn_sink_new(struct CellObject *cell, uint64_t window);

/* Whether what waits for an ask is a sink. */
static inline bool
pn_sink_check(const pn_state *state, PyObject *op)
{
    return Py_TYPE(op) == (PyTypeObject *)state->sink_type;
}

/* The sink that waits for ask id, borrowed; NULL if no stream does. */
SinkObject *pn_sink_find(MailboxObject *mailbox, uint64_t id);

/* An item of this size has come from source. */
void pn_sink_put(SinkObject *sink, uint64_t source, PyObject *value,
                 size_t size);

/* It has ended: well, or with this exception. */
void pn_sink_end(SinkObject *sink, PyObject *error);

/* Nobody wants more of it: what waits is dropped, the source hears so. Safe on
 * any thread. */
void pn_sink_leave(SinkObject *sink);

/* The same, and it has failed with this exception. Mailbox's thread. */
void pn_sink_break(SinkObject *sink, PyObject *error);

/* Drop what waits: it comes too late. */
void pn_sink_empty(SinkObject *sink);

/* The next item, new reference; NULL: with an exception it has ended
 * (StopAsyncIteration, if it was well), without one must be waited for. */
PyObject *pn_sink_take(SinkObject *sink);

/* A new future that is done when there may be something to take. Only one can
 * wait at a time: RuntimeError. New reference or NULL. */
PyObject *pn_sink_wait(SinkObject *sink);

/* Who waited by this future does so no longer. */
void pn_sink_wait_over(SinkObject *sink, PyObject *future);

#endif
