/* Settings of cells. */
#include "python/cell.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

/* Longer than any program runs; far from where an int64_t ends. */
#define SECONDS_LIMIT 3e9

pn_cell_limits *
pn_cell_limits_new(void)
{
    pn_cell_limits *limits = pn_alloc_zeroed(1, sizeof *limits);
    if (limits == NULL)
        return NULL;
    limits->references = 1;
    limits->messages = 100000;
    limits->bytes = (size_t)64 << 20;
    return limits;
}

pn_cell_limits *
pn_cell_limits_keep(pn_cell_limits *limits)
{
    limits->references++;
    return limits;
}

void
pn_cell_limits_drop(pn_cell_limits *limits)
{
    if (limits != NULL && --limits->references == 0)
        pn_free(limits);
}

static bool
are_equal(const pn_cell_limits *a, const pn_cell_limits *b)
{
    return a->max_inflight == b->max_inflight && a->policy == b->policy &&
           a->messages == b->messages && a->bytes == b->bytes &&
           a->slow == b->slow && a->ask_timeout == b->ask_timeout;
}

static int
convert_policy(PyObject *value, void *out)
{
    static const char *const names[] = {"wait", "fail", "drop"};
    const char *name = PyUnicode_AsUTF8(value);
    for (int i = 0; name != NULL && i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *(pn_policy *)out = (pn_policy)i;
            return 1;
        }
    }
    if (name != NULL)
        PyErr_Format(PyExc_ValueError, "no policy is called %R", value);
    return 0;
}

/* Seconds as nanoseconds; None is 0, and what is more than nothing is not. */
static int
convert_seconds(PyObject *value, void *out)
{
    double seconds = value == Py_None ? 0 : PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred())
        return 0;
    if (!(seconds >= 0)) {
        PyErr_SetString(PyExc_ValueError, "seconds are 0 or more");
        return 0;
    }
    seconds = seconds < SECONDS_LIMIT ? seconds : SECONDS_LIMIT;
    *(int64_t *)out = (int64_t)ceil(seconds * 1e9);
    return 1;
}

static int
parse(PyObject *args, PyObject *kwargs, pn_cell_limits *out)
{
    static char *names[] = {"max_inflight", "messages",    "bytes", "policy",
                            "slow",         "ask_timeout", NULL};
    Py_ssize_t messages = (Py_ssize_t)out->messages;
    Py_ssize_t bytes = (Py_ssize_t)out->bytes;
    long long inflight = out->max_inflight;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "|$LnnO&O&O&:limit", names, &inflight, &messages,
            &bytes, convert_policy, &out->policy, convert_seconds, &out->slow,
            convert_seconds, &out->ask_timeout))
        return -1;
    if (inflight < 0 || inflight > UINT32_MAX || messages < 1 || bytes < 1) {
        PyErr_SetString(PyExc_ValueError, "a limit is out of range");
        return -1;
    }
    out->max_inflight = (uint32_t)inflight;
    out->messages = (size_t)messages;
    out->bytes = (size_t)bytes;
    return 0;
}

/* Settings like these: those of the node's own actor, if they are so. */
static pn_cell_limits *
share(const MailboxObject *mailbox, const pn_cell_limits *wanted)
{
    if (mailbox->main != NULL && are_equal(mailbox->main->limits, wanted))
        return pn_cell_limits_keep(mailbox->main->limits);
    pn_cell_limits *limits = pn_cell_limits_new();
    if (limits == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *limits = *wanted;
    limits->references = 1;
    return limits;
}

PyObject *
pn_cell_limit(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CellObject *self = (CellObject *)op;
    pn_cell_limits wanted = *self->limits;
    if (parse(args, kwargs, &wanted) < 0)
        return NULL;
    if (self->mailbox->thread != PyThread_get_thread_ident())
        return PyErr_Format(PyExc_RuntimeError,
                            "not on the thread of the actor's loop");
    pn_cell_limits *limits = share(self->mailbox, &wanted);
    if (limits == NULL)
        return NULL;
    pn_cell_limits_drop(self->limits);
    self->limits = limits;
    if (pn_cell_make_ready(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}
