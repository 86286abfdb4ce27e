/* The type Stream: what a program iterates over, around a Sink; and Step, the
 * awaitable of one item, which is done at once if one waits. The mailbox knows
 * the sink only: so a stream that nobody holds any more is collected, and its
 * source told. */
#ifndef PN_PYTHON_STREAM_H
#define PN_PYTHON_STREAM_H

#include "python/state.h"

struct CellObject;

/* For module.c's table: adds Stream and Step. 0, or -1 with an exception. */
int pn_add_stream(PyObject *module, pn_state *state);

/* Ask for a stream: args are (target, command, args, kwargs, window), and
 * maybe a callable for its end. What cannot be sent is the stream's failure.
 * New reference or NULL. */
PyObject *pn_cell_stream(struct CellObject *cell, PyObject *const *args,
                         Py_ssize_t nargs);

#define PN_STREAM_DOC                                                         \
    "stream($self, target, command, args, kwargs, window, on_end=None, "      \
    "/)\n--\n\nAsk for a Stream; on_end() is called when it has ended."

/* Method of Mailbox: the same for the node's own actor. */
PyObject *pn_mailbox_stream(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs);

#endif
