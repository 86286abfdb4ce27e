/* What a mailbox writes into the flight recorder of its process (recorder.h).
 * Nothing of it is there, nor costs, before record() was called, or where the
 * page had no loop left. */
#ifndef PN_PYTHON_MAILBOX_FLIGHT_H
#define PN_PYTHON_MAILBOX_FLIGHT_H

#include "python/cell.h"
#include "sys/clock.h"

#include <time.h>

/* Read the clock: records have the time of the latest reading. */
static inline int64_t
pn_flight_clock(MailboxObject *self)
{
    self->flight.seen_at = pn_clock_now();
    return self->flight.seen_at;
}

/* Inside a batch the clock has just been read; else what the kernel noted at
 * its last tick will do: it costs a third. */
static inline int64_t
pn_flight_time(const MailboxObject *self)
{
    struct timespec tick;
    if (self->busy)
        return self->flight.seen_at;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &tick);
    int64_t now = (int64_t)tick.tv_sec * 1000000000 + tick.tv_nsec;
    return now > self->flight.seen_at ? now : self->flight.seen_at;
}

/* A message leaves, from an actor of this node or passed on by it. Its
 * payload's size may not be in the envelope yet. */
static inline void
pn_flight_sent(MailboxObject *self, const pn_envelope *env, uint64_t size)
{
    if (self->flight.page == NULL || env->offset != 0)
        return;
    bool ours = pn_node_of(env->source) == self->number;
    pn_recorder_write(self->flight.page,
                      ours ? PN_RECORD_SENT : PN_RECORD_PASSED,
                      pn_flight_time(self), env, size);
}

/* A message has come, for an actor of this node. */
static inline void
pn_flight_received(MailboxObject *self, const pn_envelope *env)
{
    if (self->flight.page != NULL)
        pn_recorder_write(self->flight.page, PN_RECORD_RECEIVED,
                          pn_flight_time(self), env, env->size);
}

/* The plain function of a command begins at now. True: its end is to be
 * told. */
static inline bool
pn_flight_begin(CellObject *cell, const pn_envelope *env, int64_t now)
{
    MailboxObject *self = cell->mailbox;
    self->flight.seen_at = now;
    return self->flight.loop != NULL &&
           pn_recorder_begin(self->flight.loop, now, cell->number,
                             env->command, env->command_size);
}

static inline void
pn_flight_end(MailboxObject *self, bool begun)
{
    if (begun && self->flight.loop != NULL) /* it may have closed us */
        pn_recorder_end(self->flight.loop);
}

/* A batch ends: how much is under way. */
void pn_flight_turn(MailboxObject *self);

/* Write nothing more. In a process forked by others (`forked`) the page is
 * the parent's: it is left as it is. */
void pn_flight_drop(MailboxObject *self, bool forked);

/* Methods. */
PyObject *pn_mailbox_record(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *pn_mailbox_note_state(PyObject *op, PyObject *state);

#endif
