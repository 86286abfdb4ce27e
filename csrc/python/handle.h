/* The types Handle and TimerHandle: what call_soon and call_later give. They
 * are asyncio's own classes with the hot methods in C: their slots are those
 * of asyncio.Handle, so that all its Python methods work on them. */
#ifndef PN_PYTHON_HANDLE_H
#define PN_PYTHON_HANDLE_H

#include "python/loop.h"
#include "python/state.h"

#include <stdbool.h>

/* As CPython lays out the slots of asyncio.Handle (sorted by name), which
 * pn_add_handle checks. Each is a strong reference, or NULL: deleted. */
typedef struct {
    PyObject_HEAD PyObject *args; /* tuple; None once cancelled */
    PyObject *callback;           /* None once cancelled */
    PyObject *cancelled;          /* bool */
    PyObject *context;
    PyObject *loop;
    PyObject *repr;             /* None, or kept from before cancelling */
    PyObject *source_traceback; /* None but in debug mode */
#if PY_VERSION_HEX < 0x030c0000
    PyObject *weakrefs; /* later it stands before the object */
#endif
} pn_handle;

/* And those of asyncio.TimerHandle. */
typedef struct {
    pn_handle handle;
    PyObject *scheduled; /* bool: whether it is among its loop's timers */
    PyObject *when;      /* seconds of the loop's clock */
} pn_timer_handle;

/* For module.c's table. ImportError on a CPython with another layout. */
int pn_add_handle(PyObject *module, pn_state *state);

/* A handle of loop; args, a tuple, is taken over, also on failure. context
 * NULL: a copy of the current one. when NULL: no timer. New reference or
 * NULL. */
PyObject *pn_handle_new(pn_state *state, PyObject *loop, PyObject *callback,
                        PyObject *args, PyObject *context, PyObject *when);

/* Free the memory that a loop, which is freed now, keeps for handles. */
void pn_handle_free_spares(LoopObject *loop);

/* Whether it was cancelled; of one that pn_handle_new made. */
static inline bool
pn_handle_is_cancelled(PyObject *handle)
{
    return ((pn_handle *)handle)->cancelled == Py_True;
}

/* Call it; the caller has a reference. What it raises goes to the loop's
 * exception handler, but SystemExit and KeyboardInterrupt come out: 0, or -1
 * with an exception. */
int pn_handle_run(pn_state *state, PyObject *handle);

/* As handle.cancel(). 0, or -1 with an exception. */
int pn_handle_cancel(PyObject *handle);

/* Say whether it is among its loop's timers. */
static inline void
pn_handle_schedule(PyObject *handle, bool scheduled)
{
    pn_timer_handle *timer = (pn_timer_handle *)handle;
    Py_XSETREF(timer->scheduled, Py_NewRef(scheduled ? Py_True : Py_False));
}

#endif
