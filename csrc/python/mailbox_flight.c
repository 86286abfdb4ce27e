#include "python/mailbox_flight.h"

#include "python/recorder.h"

#include <unistd.h>

static void
set(_Atomic uint32_t *to, size_t value)
{
    atomic_store_explicit(to, (uint32_t)value, memory_order_relaxed);
}

void
pn_flight_turn(MailboxObject *self)
{
    pn_recorder_loop *loop = self->flight.loop;
    const CellObject *main = self->main;
    if (loop == NULL || main == NULL)
        return;
    if (self->flight.turns)
        pn_recorder_turn(loop, self->flight.seen_at);
    set(&loop->asks, pn_pending_count(&self->pending));
    set(&loop->cells, self->cells.count);
    set(&loop->running, main->inflight);
    set(&loop->waiting, pn_cell_waiting(main));
}

void
pn_flight_drop(MailboxObject *self, bool forked)
{
    pn_flight flight = self->flight;
    self->flight = (pn_flight){.seen_at = flight.seen_at};
    if (flight.loop != NULL && !forked && flight.page->pid == getpid())
        pn_recorder_leave(flight.loop);
    Py_XDECREF(flight.recorder);
}

/* A loop of the page, under names of any characters. 0, or -1 with an
 * exception. */
static int
enter(MailboxObject *self, pn_recorder *recorder, uint64_t manager,
      PyObject *kind, PyObject *name)
{
    PyObject *named = NULL;
    PyObject *of_kind = PyUnicode_AsEncodedString(kind, "utf-8", "replace");
    if (of_kind != NULL)
        named = PyUnicode_AsEncodedString(name, "utf-8", "replace");
    if (named != NULL)
        self->flight.loop = pn_recorder_enter(recorder, self->number, manager,
                                              PyBytes_AS_STRING(of_kind),
                                              PyBytes_AS_STRING(named));
    Py_XDECREF(of_kind);
    Py_XDECREF(named);
    return named == NULL ? -1 : 0;
}

PyObject *
pn_mailbox_record(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"recorder", "manager", "kind",
                            "name",     "turns",   NULL};
    MailboxObject *self = (MailboxObject *)op;
    PyObject *recorder, *kind, *name;
    unsigned long long manager;
    int turns = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OKUU|$p:record", names,
                                     &recorder, &manager, &kind, &name,
                                     &turns) ||
        pn_mailbox_check(self) < 0)
        return NULL;
    pn_recorder *found = pn_recorder_of(self->state, recorder);
    if (found == NULL)
        return NULL;
    pn_flight_drop(self, false);
    self->flight.recorder = Py_NewRef(recorder);
    self->flight.page = found->page;
    self->flight.turns = turns != 0;
    if (enter(self, found, manager, kind, name) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *
pn_mailbox_note_state(PyObject *op, PyObject *state)
{
    MailboxObject *self = (MailboxObject *)op;
    long value = PyLong_AsLong(state);
    if (value == -1 && PyErr_Occurred())
        return NULL;
    if (self->flight.page == NULL)
        Py_RETURN_NONE;
    pn_envelope env = {.source = self->number, .id = (uint64_t)value};
    pn_recorder_write(self->flight.page, PN_RECORD_STATE,
                      pn_flight_clock(self), &env, 0);
    if (self->flight.loop != NULL)
        set(&self->flight.loop->state, (size_t)value);
    Py_RETURN_NONE;
}
