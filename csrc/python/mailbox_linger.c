#include "python/mailbox_linger.h"

#include "python/spinner.h"
#include "sys/clock.h"

/* What comes one by one may hold the loop no longer than this: it has nothing
 * to call, but perhaps descriptors and timers to look at. */
#define LINGER_NS 500000

/* Whether somebody here waits, and the loop would sleep. */
static bool
may_linger(MailboxObject *self)
{
    if (self->spinner == NULL || self->closed || self->held || self->busy ||
        self->turn || pn_pending_count(&self->pending) == 0)
        return false;
    PyObject *ready = Py_NewRef(self->loop_ready);
    Py_ssize_t count = PyObject_Size(ready);
    Py_DECREF(ready);
    if (count < 0)
        pn_mailbox_report(self);
    return count == 0 && self->spinner != NULL;
}

/* See that the next turn goes on. */
static void
linger_again(MailboxObject *self)
{
    if (pn_mailbox_request_turn(self) < 0)
        pn_mailbox_report(self);
    else
        self->lingers = true;
}

PyObject *
pn_mailbox_linger_on(MailboxObject *self, PyObject *done)
{
    int64_t until = pn_clock_now() + LINGER_NS;
    while (done != NULL && may_linger(self)) {
        if (pn_clock_now() > until) {
            linger_again(self);
            break;
        }
        PyObject *spinner = Py_NewRef(self->spinner);
        bool ready = pn_spinner_spin(spinner);
        Py_DECREF(spinner);
        if (!ready || self->closed || self->busy || self->held)
            break;
        Py_DECREF(done);
        done = pn_mailbox_dispatch(self);
    }
    return done;
}

PyObject *
pn_mailbox_linger(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    MailboxObject *self = (MailboxObject *)op;
    PyTypeObject *type = (PyTypeObject *)self->state->spinner_type;
    if (nargs != 2 || !Py_IS_TYPE(args[0], type)) {
        PyErr_SetString(PyExc_TypeError, "takes (spinner, ready)");
        return NULL;
    }
    if (PyObject_Size(args[1]) < 0)
        return NULL;
    Py_XSETREF(self->spinner, Py_NewRef(args[0]));
    Py_XSETREF(self->loop_ready, Py_NewRef(args[1]));
    Py_RETURN_NONE;
}
