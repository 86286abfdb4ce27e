#include "python/lives.h"

#include "actor/lives.h"
#include "python/seconds.h"

#include <stdbool.h>

typedef struct {
    PyObject_HEAD pn_lives lives;
} LivesObject;

static const char *const states[] = {"starting", "running",  "silent",
                                     "draining", "stopping", "terminating",
                                     "killing",  "gone"};
static const char *const words[] = {
    "look", "capture",      "ask_stop", "ask_drain", "hung", "terminate",
    "kill", "start_failed", "orphaned", "forget",    "end"};

static PyObject *
lives_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Lives", names))
        return NULL;
    return type->tp_alloc(type, 0); /* zeroed: an empty set */
}

static void
lives_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    pn_lives_free(&((LivesObject *)op)->lives);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Too long is as long as can be. 0, or -1 with ValueError. */
static int
read_limits(pn_life_limits *out, const double given[6])
{
    int64_t read[6];
    for (int i = 0; i < 6; i++) {
        double most = given[i] > PN_MAX_SECONDS ? PN_MAX_SECONDS : given[i];
        if (pn_nanoseconds(most, &read[i]) < 0)
            return -1;
        if (read[i] < 0) {
            PyErr_SetString(PyExc_ValueError, "a limit is 0 or more");
            return -1;
        }
    }
    *out =
        (pn_life_limits){read[0], read[1], read[2], read[3], read[4], read[5]};
    return 0;
}

static PyObject *
lives_add(PyObject *op, PyObject *args)
{
    pn_lives *lives = &((LivesObject *)op)->lives;
    unsigned long long number;
    double given[6], seconds;
    pn_life_limits limits;
    int64_t now;
    if (!PyArg_ParseTuple(args, "K(dddddd)d:add", &number, &given[0],
                          &given[1], &given[2], &given[3], &given[4],
                          &given[5], &seconds) ||
        read_limits(&limits, given) < 0 || pn_nanoseconds(seconds, &now) < 0)
        return NULL;
    if (number == 0 || pn_lives_get(lives, number) != NULL) {
        PyErr_SetString(PyExc_ValueError, "a number has one life, 0 none");
        return NULL;
    }
    if (pn_lives_add(lives, number, &limits, now) < 0)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *
lives_remove(PyObject *op, PyObject *arg)
{
    unsigned long long number = PyLong_AsUnsignedLongLong(arg);
    if (number == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    pn_lives_remove(&((LivesObject *)op)->lives, number);
    Py_RETURN_NONE;
}

static PyObject *
lives_state(PyObject *op, PyObject *arg)
{
    unsigned long long number = PyLong_AsUnsignedLongLong(arg);
    if (number == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    const pn_lives_entry *entry =
        pn_lives_get(&((LivesObject *)op)->lives, number);
    pn_life_state state = entry == NULL ? PN_LIFE_GONE : entry->life.state;
    return PyUnicode_FromString(states[state]);
}

/* --- events --- */

static int
append_actions(PyObject *list, uint64_t number, const pn_life_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        PyObject *item = Py_BuildValue("(Ks)", (unsigned long long)number,
                                       words[actions->what[i]]);
        int err = item == NULL ? -1 : PyList_Append(list, item);
        Py_XDECREF(item);
        if (err < 0)
            return -1;
    }
    return 0;
}

/* After an event of a life: what it asks for. To make objects may collect
 * garbage, and so run what removes the life. */
static PyObject *
moved(pn_lives *lives, pn_lives_entry *entry, const pn_life_actions *actions)
{
    uint64_t number = entry->number;
    pn_lives_moved(lives, entry);
    PyObject *list = PyList_New(0);
    if (list != NULL && append_actions(list, number, actions) < 0)
        Py_CLEAR(list);
    return list;
}

/* Events that ask for nothing: (number, now). */
static PyObject *
plain_event(PyObject *op, PyObject *args, void (*event)(pn_life *, int64_t))
{
    pn_lives *lives = &((LivesObject *)op)->lives;
    unsigned long long number;
    double seconds;
    int64_t now;
    if (!PyArg_ParseTuple(args, "Kd", &number, &seconds) ||
        pn_nanoseconds(seconds, &now) < 0)
        return NULL;
    pn_lives_entry *entry = pn_lives_get(lives, number);
    if (entry != NULL) {
        event(&entry->life, now);
        pn_lives_moved(lives, entry);
    }
    Py_RETURN_NONE;
}

static PyObject *
lives_heard(PyObject *op, PyObject *args)
{
    return plain_event(op, args, pn_life_heard);
}

static PyObject *
lives_leaves(PyObject *op, PyObject *args)
{
    return plain_event(op, args, pn_life_leaves);
}

static PyObject *
lives_waits(PyObject *op, PyObject *args)
{
    return plain_event(op, args, pn_life_waits);
}

static PyObject *
lives_unlinked(PyObject *op, PyObject *args)
{
    return plain_event(op, args, pn_life_unlinked);
}

static PyObject *
lives_exited(PyObject *op, PyObject *args)
{
    return plain_event(op, args, pn_life_exited);
}

static PyObject *
lives_look(PyObject *op, PyObject *args)
{
    pn_lives *lives = &((LivesObject *)op)->lives;
    pn_life_actions actions;
    unsigned long long number;
    int busy;
    double seconds;
    int64_t now;
    if (!PyArg_ParseTuple(args, "Kpd:look", &number, &busy, &seconds) ||
        pn_nanoseconds(seconds, &now) < 0)
        return NULL;
    pn_lives_entry *entry = pn_lives_get(lives, number);
    if (entry == NULL)
        return PyList_New(0);
    pn_life_look(&entry->life, busy != 0, now, &actions);
    return moved(lives, entry, &actions);
}

static PyObject *
lives_stop(PyObject *op, PyObject *args)
{
    pn_lives *lives = &((LivesObject *)op)->lives;
    pn_life_actions actions;
    unsigned long long number;
    double seconds, drain_seconds;
    int64_t now, drain;
    if (!PyArg_ParseTuple(args, "Kdd:stop", &number, &drain_seconds,
                          &seconds) ||
        pn_nanoseconds(drain_seconds, &drain) < 0 ||
        pn_nanoseconds(seconds, &now) < 0)
        return NULL;
    pn_lives_entry *entry = pn_lives_get(lives, number);
    if (entry == NULL)
        return PyList_New(0);
    pn_life_stop(&entry->life, drain, now, &actions);
    return moved(lives, entry, &actions);
}

static PyObject *
lives_kill(PyObject *op, PyObject *args)
{
    pn_lives *lives = &((LivesObject *)op)->lives;
    pn_life_actions actions;
    unsigned long long number;
    double seconds;
    int64_t now;
    if (!PyArg_ParseTuple(args, "Kd:kill", &number, &seconds) ||
        pn_nanoseconds(seconds, &now) < 0)
        return NULL;
    pn_lives_entry *entry = pn_lives_get(lives, number);
    if (entry == NULL)
        return PyList_New(0);
    pn_life_kill(&entry->life, now, &actions);
    return moved(lives, entry, &actions);
}

static PyObject *
lives_tick(PyObject *op, PyObject *arg)
{
    pn_lives *lives = &((LivesObject *)op)->lives;
    pn_life_actions actions;
    uint64_t number;
    int64_t now;
    double seconds = PyFloat_AsDouble(arg);
    if (PyErr_Occurred() || pn_nanoseconds(seconds, &now) < 0)
        return NULL;
    PyObject *list = PyList_New(0);
    while (list != NULL &&
           (number = pn_lives_tick(lives, now, &actions)) != 0) {
        if (append_actions(list, number, &actions) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *
lives_due(PyObject *op, PyObject *Py_UNUSED(unused))
{
    int64_t due = pn_lives_due(&((LivesObject *)op)->lives);
    if (due == INT64_MAX)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)due / 1e9);
}

static PyObject *
lives_check(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(pn_lives_check(&((LivesObject *)op)->lives));
}

/* --- the type --- */

static PyMethodDef lives_methods[] = {
    {"add", lives_add, METH_VARARGS,
     PyDoc_STR("add($self, number, limits, now, /)\n--\n\n"
               "A new actor starts. limits are six numbers of seconds: for "
               "its start, of silence (0: any), to exit, from SIGTERM to "
               "SIGKILL, from that to giving up, between the ends of its "
               "link and of its process.")},
    {"remove", lives_remove, METH_O,
     PyDoc_STR("remove($self, number, /)\n--\n\nIt has ended.")},
    {"state", lives_state, METH_O,
     PyDoc_STR("state($self, number, /)\n--\n\n"
               "starting, running, silent, draining, stopping, terminating, "
               "killing or gone.")},
    {"heard", lives_heard, METH_VARARGS,
     PyDoc_STR("heard($self, number, now, /)\n--\n\n"
               "A handshake or a heartbeat.")},
    {"look", lives_look, METH_VARARGS,
     PyDoc_STR("look($self, number, busy, now, /)\n--\n\n"
               "The answer to look: whether it is busy, or has moved.")},
    {"stop", lives_stop, METH_VARARGS,
     PyDoc_STR("stop($self, number, drain, now, /)\n--\n\n"
               "It is to stop, after draining for so many seconds at most; "
               "0: at once.")},
    {"kill", lives_kill, METH_VARARGS,
     PyDoc_STR("kill($self, number, now, /)\n--\n\nIt is to end now.")},
    {"leaves", lives_leaves, METH_VARARGS,
     PyDoc_STR("leaves($self, number, now, /)\n--\n\n"
               "It has said its last words.")},
    {"waits", lives_waits, METH_VARARGS,
     PyDoc_STR("waits($self, number, until, /)\n--\n\n"
               "It stops, and has to wait for others until then.")},
    {"unlinked", lives_unlinked, METH_VARARGS,
     PyDoc_STR("unlinked($self, number, now, /)\n--\n\nIts link has ended.")},
    {"exited", lives_exited, METH_VARARGS,
     PyDoc_STR("exited($self, number, now, /)\n--\n\n"
               "It has exited, and its link has not ended.")},
    {"tick", lives_tick, METH_O,
     PyDoc_STR("tick($self, now, /)\n--\n\nIt is that late.")},
    {"due", lives_due, METH_NOARGS,
     PyDoc_STR("due($self, /)\n--\n\n"
               "When tick is to be called, or None; it may have passed.")},
    {"check", lives_check, METH_NOARGS,
     PyDoc_STR("check($self, /)\n--\n\n"
               "For tests: whether its invariants hold.")},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(lives_doc,
             "Lives()\n--\n\n"
             "The lives of the actors of one arbiter, by number. Times are "
             "float seconds of one clock.\n\n"
             "look, stop, kill and tick give a list of (number, what), to be "
             "done in order: look, capture, ask_stop, ask_drain, hung, "
             "terminate, kill, start_failed, orphaned, forget, end. News of "
             "an unknown number are ignored.");

static PyType_Slot lives_slots[] = {
    {Py_tp_doc, (void *)lives_doc},
    {Py_tp_new, lives_new},
    {Py_tp_methods, lives_methods},
    {Py_tp_dealloc, lives_dealloc},
    {0, NULL},
};

static PyType_Spec lives_spec = {
    .name = "pulsar_native._native.Lives",
    .basicsize = sizeof(LivesObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = lives_slots,
};

int
pn_add_lives(PyObject *module, pn_state *state)
{
    state->lives_type = PyType_FromModuleAndSpec(module, &lives_spec, NULL);
    if (state->lives_type == NULL)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->lives_type);
}
