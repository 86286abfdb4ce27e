#include "python/restarts.h"

#include "actor/restarts.h"
#include "python/error.h"
#include "python/seconds.h"
#include "sys/entropy.h"

#include <stdbool.h>
#include <string.h>

typedef struct {
    PyObject_HEAD pn_restarts sup;
} RestartsObject;

static const char *const strategies[] = {"one_for_one", "one_for_all",
                                         "rest_for_one", NULL};
static const char *const kinds[] = {"temporary", "transient", "permanent",
                                    NULL};
static const char *const child_states[] = {
    "idle", "starting", "up", "stopping", "waiting", "waiting", "ended"};
static const char *const phases[] = {"open",       "restarting", "restarting",
                                     "restarting", "ending",     "closed"};
static const char *const actions[] = {"start", "stop", "wait", "escalate",
                                      "stopped"};

/* The place of a word in a table, or -1 with ValueError. */
static int
find_word(const char *const *words, const char *word, const char *what)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0)
            return i;
    }
    PyErr_Format(PyExc_ValueError, "no such %s: %s", what, word);
    return -1;
}

/* --- life --- */

static int
read_rules(pn_restarts_rules *rules, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"strategy", "max_restarts", "within",
                            "backoff",  "backoff_max",  NULL};
    const char *word;
    long max;
    double within, backoff, most;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "slddd:Restarts", names,
                                     &word, &max, &within, &backoff, &most))
        return -1;
    int strategy = find_word(strategies, word, "strategy");
    if (strategy < 0 || pn_nanoseconds(within, &rules->within) < 0 ||
        pn_nanoseconds(backoff, &rules->backoff) < 0 ||
        pn_nanoseconds(most, &rules->backoff_max) < 0)
        return -1;
    if (max < 0 || max > (long)PN_MAX_RESTARTS || rules->within <= 0 ||
        rules->backoff < 0 || rules->backoff_max < rules->backoff) {
        PyErr_Format(PyExc_ValueError,
                     "max_restarts is 0 to %u, within above 0, backoff 0 or "
                     "more, backoff_max not below it",
                     PN_MAX_RESTARTS);
        return -1;
    }
    rules->strategy = (pn_strategy)strategy;
    rules->max_restarts = (uint32_t)max;
    return 0;
}

static PyObject *
restarts_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    pn_restarts_rules rules;
    if (read_rules(&rules, args, kwargs) < 0)
        return NULL;
    RestartsObject *self = (RestartsObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (pn_restarts_init(&self->sup, &rules) < 0) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void
restarts_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    pn_restarts_free(&((RestartsObject *)op)->sup);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- children --- */

/* NULL with KeyError if there is none. */
static pn_child *
find_child(pn_restarts *sup, unsigned long long id)
{
    pn_child *child = pn_restarts_child(sup, id);
    if (child == NULL) {
        PyObject *key = PyLong_FromUnsignedLongLong(id);
        if (key != NULL)
            PyErr_SetObject(PyExc_KeyError, key);
        Py_XDECREF(key);
    }
    return child;
}

static pn_child *
named_child(pn_restarts *sup, PyObject *arg)
{
    unsigned long long id = PyLong_AsUnsignedLongLong(arg);
    if (id == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    return find_child(sup, id);
}

static PyObject *
restarts_add(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"restart", "beside", NULL};
    pn_restarts *sup = &((RestartsObject *)op)->sup;
    const char *word;
    unsigned long long beside = 0;
    uint64_t id;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s|$K:add", names, &word,
                                     &beside))
        return NULL;
    int restart = find_word(kinds, word, "restart");
    if (restart < 0 || (beside != 0 && find_child(sup, beside) == NULL))
        return NULL;
    if (pn_restarts_add(sup, (pn_restart)restart, beside, &id) < 0)
        return PyErr_NoMemory();
    return PyLong_FromUnsignedLongLong(id);
}

static PyObject *
restarts_remove(PyObject *op, PyObject *arg)
{
    pn_restarts *sup = &((RestartsObject *)op)->sup;
    pn_child *child = named_child(sup, arg);
    if (child == NULL)
        return NULL;
    if (!pn_restarts_remove(sup, child)) {
        PyErr_SetString(PyExc_ValueError, "a child that runs stays");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
restarts_state(PyObject *op, PyObject *arg)
{
    pn_child *child = named_child(&((RestartsObject *)op)->sup, arg);
    return child == NULL ? NULL
                         : PyUnicode_FromString(child_states[child->state]);
}

static PyObject *
restarts_restarts(PyObject *op, PyObject *arg)
{
    pn_child *child = named_child(&((RestartsObject *)op)->sup, arg);
    if (child == NULL)
        return NULL;
    return PyLong_FromUnsignedLongLong(child->starts - (child->starts > 0));
}

/* --- events --- */

static PyObject *
convert_actions(const pn_sup_action *given, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = Py_BuildValue("(sKd)", actions[given[i].what],
                                       (unsigned long long)given[i].id,
                                       (double)given[i].delay / 1e9);
        if (item == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

/* What the event asks for. Of a copy: to make objects may collect garbage,
 * and so run what tells of another event. */
static PyObject *
list_actions(const pn_restarts *sup)
{
    size_t count = sup->action_count;
    pn_sup_action *copy = PyMem_New(pn_sup_action, count);
    if (copy == NULL)
        return PyErr_NoMemory();
    memcpy(copy, sup->actions, count * sizeof *copy);
    PyObject *list = convert_actions(copy, count);
    PyMem_Free(copy);
    return list;
}

/* What events of a child take; now is of no use for the first ones. */
static pn_child *
read_event(pn_restarts *sup, PyObject *args, int64_t *now)
{
    unsigned long long id;
    double seconds = 0;
    if (!PyArg_ParseTuple(args, "K|d", &id, &seconds) ||
        pn_nanoseconds(seconds, now) < 0)
        return NULL;
    return find_child(sup, id);
}

static PyObject *
child_event(PyObject *op, PyObject *args,
            void (*event)(pn_restarts *, pn_child *))
{
    pn_restarts *sup = &((RestartsObject *)op)->sup;
    int64_t now;
    pn_child *child = read_event(sup, args, &now);
    if (child == NULL)
        return NULL;
    event(sup, child);
    return list_actions(sup);
}

static PyObject *
restarts_start(PyObject *op, PyObject *args)
{
    return child_event(op, args, pn_restarts_start);
}

static PyObject *
restarts_halt(PyObject *op, PyObject *args)
{
    return child_event(op, args, pn_restarts_halt);
}

static PyObject *
restarts_again(PyObject *op, PyObject *args)
{
    return child_event(op, args, pn_restarts_again);
}

static PyObject *
restarts_up(PyObject *op, PyObject *args)
{
    pn_restarts *sup = &((RestartsObject *)op)->sup;
    int64_t now;
    pn_child *child = read_event(sup, args, &now);
    if (child == NULL)
        return NULL;
    pn_restarts_up(sup, child, now);
    return list_actions(sup);
}

/* What was given, or bits of the kernel. 0, or -1 with an exception. */
static int
take_random(PyObject *op, PyObject *given, uint64_t *out)
{
    if (given != Py_None) {
        *out = PyLong_AsUnsignedLongLongMask(given);
        return PyErr_Occurred() ? -1 : 0;
    }
    pn_state *state = pn_state_of(Py_TYPE(op));
    if (state == NULL)
        return -1;
    pn_entropy *entropy = PyCapsule_GetPointer(state->entropy, NULL);
    if (entropy == NULL)
        return -1;
    int err = pn_entropy_take(entropy, (uint8_t *)out, sizeof *out);
    if (err < 0)
        (void)pn_raise_status(state, err);
    return err < 0 ? -1 : 0;
}

static PyObject *
restarts_down(PyObject *op, PyObject *args)
{
    pn_restarts *sup = &((RestartsObject *)op)->sup;
    unsigned long long id;
    int abnormal;
    double seconds;
    PyObject *given = Py_None;
    int64_t now;
    uint64_t bits;
    if (!PyArg_ParseTuple(args, "Kpd|O:down", &id, &abnormal, &seconds,
                          &given) ||
        pn_nanoseconds(seconds, &now) < 0 || take_random(op, given, &bits) < 0)
        return NULL;
    pn_child *child = find_child(sup, id);
    if (child == NULL)
        return NULL;
    pn_restarts_down(sup, child, abnormal != 0, now, bits);
    return list_actions(sup);
}

static PyObject *
restarts_stop(PyObject *op, PyObject *Py_UNUSED(now))
{
    pn_restarts *sup = &((RestartsObject *)op)->sup;
    pn_restarts_stop(sup);
    return list_actions(sup);
}

static PyObject *
restarts_tick(PyObject *op, PyObject *arg)
{
    pn_restarts *sup = &((RestartsObject *)op)->sup;
    double seconds = PyFloat_AsDouble(arg);
    int64_t now;
    if (PyErr_Occurred() || pn_nanoseconds(seconds, &now) < 0)
        return NULL;
    pn_restarts_tick(sup, now);
    return list_actions(sup);
}

static PyObject *
restarts_due(PyObject *op, PyObject *Py_UNUSED(unused))
{
    int64_t due = pn_restarts_due(&((RestartsObject *)op)->sup);
    if (due == INT64_MAX)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)due / 1e9);
}

static PyObject *
restarts_phase(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(phases[((RestartsObject *)op)->sup.phase]);
}

static PyObject *
restarts_check(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(pn_restarts_check(&((RestartsObject *)op)->sup));
}

/* --- the type --- */

static PyMethodDef restarts_methods[] = {
    {"add", (PyCFunction)(void (*)(void))restarts_add,
     METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("add($self, restart, *, beside=0)\n--\n\n"
               "A new child, idle, and its id. It is the last one, or, beside "
               "another, has the rank of that: they stop and start "
               "together.")},
    {"remove", restarts_remove, METH_O,
     PyDoc_STR("remove($self, id, /)\n--\n\n"
               "Forget a child; ValueError if it runs.")},
    {"start", restarts_start, METH_VARARGS,
     PyDoc_STR("start($self, id, now, /)\n--\n\n"
               "Start an idle child, or one that has ended.")},
    {"halt", restarts_halt, METH_VARARGS,
     PyDoc_STR("halt($self, id, now, /)\n--\n\n"
               "Stop a child; it is not restarted.")},
    {"again", restarts_again, METH_VARARGS,
     PyDoc_STR("again($self, id, now, /)\n--\n\n"
               "Stop a child and start it again; that is not counted.")},
    {"up", restarts_up, METH_VARARGS,
     PyDoc_STR("up($self, id, now, /)\n--\n\nIt runs.")},
    {"down", restarts_down, METH_VARARGS,
     PyDoc_STR("down($self, id, abnormal, now, random=None, /)\n--\n\n"
               "It has ended, or could not be started. random is 64 bits for "
               "the jitter; else the kernel gives them.")},
    {"stop", restarts_stop, METH_O,
     PyDoc_STR("stop($self, now, /)\n--\n\nStop all, in reverse order.")},
    {"tick", restarts_tick, METH_O,
     PyDoc_STR("tick($self, now, /)\n--\n\nIt is that late.")},
    {"due", restarts_due, METH_NOARGS,
     PyDoc_STR("due($self, /)\n--\n\n"
               "When tick is to be called, or None; it may have passed.")},
    {"state", restarts_state, METH_O,
     PyDoc_STR("state($self, id, /)\n--\n\n"
               "idle, starting, up, stopping, waiting or ended.")},
    {"restarts", restarts_restarts, METH_O,
     PyDoc_STR("restarts($self, id, /)\n--\n\n"
               "How often it was started again.")},
    {"check", restarts_check, METH_NOARGS,
     PyDoc_STR("check($self, /)\n--\n\n"
               "For tests: whether its invariants hold.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef restarts_getset[] = {
    {"phase", restarts_phase, NULL,
     PyDoc_STR("open, restarting, ending or closed"), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    restarts_doc,
    "Restarts(strategy, max_restarts, within, backoff, backoff_max)\n--\n\n"
    "When the children of one supervisor are started, stopped and started "
    "again. Times are float seconds of one clock.\n\n"
    "An event gives a list of (what, id, seconds), to be done in order: "
    "start and stop this child, wait (nothing to do), escalate (its end was "
    "one too many; all stop), stopped (all have; id is 0). An event that "
    "makes no sense now is ignored; for an unknown id it is a KeyError.");

static PyType_Slot restarts_slots[] = {
    {Py_tp_doc, (void *)restarts_doc}, {Py_tp_new, restarts_new},
    {Py_tp_methods, restarts_methods}, {Py_tp_getset, restarts_getset},
    {Py_tp_dealloc, restarts_dealloc}, {0, NULL},
};

static PyType_Spec restarts_spec = {
    .name = "pulsar_native._native.Restarts",
    .basicsize = sizeof(RestartsObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = restarts_slots,
};

int
pn_add_restarts(PyObject *module, pn_state *state)
{
    state->restarts_type =
        PyType_FromModuleAndSpec(module, &restarts_spec, NULL);
    if (state->restarts_type == NULL)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->restarts_type);
}
