/* The type LoopCore: what of an asyncio event loop is C. pulsar_native.Loop
 * has it as a base before asyncio.SelectorEventLoop, from which it inherits
 * the rest. `loop.c` is its life, `loop_turn.c` the turns, `loop_call.c`
 * what is to be called, `loop_watch.c` descriptors. */
#ifndef PN_PYTHON_LOOP_H
#define PN_PYTHON_LOOP_H

#include "loop/guest.h"
#include "loop/pace.h"
#include "loop/ready.h"
#include "loop/timers.h"
#include "loop/watches.h"
#include "python/state.h"
#include "sys/spin.h"

#include <stdbool.h>

/* So many freed handles of each type are kept for the next. */
#define PN_LOOP_SPARES 64

typedef struct {
    PyObject
        *handles[PN_LOOP_SPARES]; /* memory without a type or references */
    int count;
} pn_spares;

/* Touched with the GIL held; by its own thread but for what
 * call_soon_threadsafe does: it puts a handle into `ready` and reads `asleep`.
 *   - ready, timers and watches own a reference to each handle in them;
 *   - all in timers and watches are Handles and TimerHandles of ours; in
 *     ready there may be other objects that behave as asyncio.Handle. */
typedef struct {
    PyObject_HEAD pn_state *state; /* borrowed: the type keeps the module */
    pn_ready ready;
    pn_timers timers;
    pn_watches watches;
    pn_pace pace;
    pn_spin spin;
    Py_buffer page;           /* holds the object whose memory spin uses */
    pn_guest *guest;          /* made before the first sleep; or NULL */
    PyObject *thread_id;      /* None while it does not run */
    PyObject *current_handle; /* in debug mode; or None */
    pn_spares spares[2];      /* of Handle, of TimerHandle */
    bool closed;
    bool stopping;
    bool debug;
    bool asleep;   /* its thread waits, without the GIL */
    bool woken;    /* while asleep: the guest was told */
    bool own_time; /* time() is ours, not a subclass's */
    bool forked;   /* this process is a child of the loop's */
} LoopObject;

int pn_add_loop(PyObject *module, pn_state *state);

/* An object as a loop of ours; NULL if it is none, without an exception. */
LoopObject *pn_loop_of(PyObject *object);

/* Whether an object that may be a loop is in debug mode; -1 with an
 * exception. */
int pn_loop_is_debugged(PyObject *loop);

/* --- between the files of this type --- */

extern PyMethodDef pn_loop_turn_methods[];
extern PyMethodDef pn_loop_call_methods[];
extern PyMethodDef pn_loop_watch_methods[];

/* 0, or -1 with the RuntimeError of a closed loop. */
int pn_loop_check_closed(LoopObject *self);

/* Put a handle last, with a reference of its own. 0, or -1. */
int pn_loop_push(LoopObject *self, PyObject *handle);

/* Have a guest. 0, or a negative status. */
int pn_loop_make_guest(LoopObject *self);

/* Wake its thread, if that sleeps. 0, or -1. */
int pn_loop_wake(LoopObject *self);

/* Nanoseconds of its clock. 0, or -1 with an exception. */
int pn_loop_now(LoopObject *self, int64_t *out);

/* Find out whether time() is ours. 0, or -1 with an exception. */
int pn_loop_learn_time(LoopObject *self);

/* Give back all handles of a kind. */
void pn_loop_clear_ready(LoopObject *self);
void pn_loop_clear_timers(LoopObject *self);
void pn_loop_clear_watches(LoopObject *self);

/* Of loop.time(). */
PyObject *pn_loop_time(PyObject *op, PyObject *unused);

#endif
