/* The type AskFuture: an asyncio.Future that a mailbox makes, a reply that is
 * to come. Cancelling it cancels what runs for it. It keeps its first callback
 * itself, a task's wake-up mostly, so that the mailbox can call those of a
 * whole batch in one go; asyncio.Future would ask the loop for a handle each.
 *
 * The other callbacks are asyncio.Future's, and so is the state. */
#ifndef PN_PYTHON_ASKFUTURE_H
#define PN_PYTHON_ASKFUTURE_H

#include "python/state.h"

#include <stdbool.h>
#include <stdint.h>

struct MailboxObject;

/* For module.c's table. 0, or -1 with an exception set. */
int pn_add_askfuture(PyObject *module, pn_state *state);

/* A new one; keywords is the dict {"loop": loop}. NULL with an exception. */
PyObject *pn_askfuture_new(pn_state *state, PyObject *keywords);

/* It stands for ask id of this mailbox from now on. */
void pn_askfuture_bind(PyObject *op, struct MailboxObject *mailbox,
                       uint64_t id);

/* Its result comes by this serializer, if it comes serialized. */
void pn_askfuture_expect(PyObject *op, PyObject *serializer);

/* That serializer, borrowed, or NULL. */
PyObject *pn_askfuture_serializer(PyObject *op);

/* Give it its result, or its exception if failed, unless it is done: a late
 * reply to a cancelled ask is dropped. What it refuses (StopIteration, say) it
 * gets as the refusal's own exception. 1: pn_askfuture_wake is to be called;
 * 0; -1 with an exception. */
int pn_askfuture_settle(PyObject *op, bool failed, PyObject *value);

/* Call the callback that it keeps, now if the loop is in no task, else through
 * the loop. What it raises is the loop's to tell, like that of any handle; 0,
 * or -1 with what is to end the loop. */
int pn_askfuture_wake(PyObject *op, bool now);

/* Those that wait to be woken: a list in the order of adding, which holds a
 * reference to each. Zeroed is empty. */
typedef struct {
    PyObject *first;
    PyObject *last;
} pn_askfutures;

void pn_askfutures_add(pn_askfutures *list, PyObject *op);

/* The first, whose reference passes to the caller, or NULL. */
PyObject *pn_askfutures_take(pn_askfutures *list);

#endif
