#include "python/recorder.h"

#include "base/status.h"
#include "python/error.h"
#include "sys/clock.h"

#include <stddef.h>
#include <structmember.h>

/* Bytes of stacks that one call gives, at most. */
#define STACKS_LIMIT ((Py_ssize_t)1 << 20)

/* Holds no Python object, so the collector need not know of it. */
typedef struct {
    PyObject_HEAD pn_recorder recorder; /* open as long as this lives */
    PyObject *weakrefs;
} RecorderObject;

static PyObject *
recorder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", NULL};
    int fd = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i:Recorder", names, &fd))
        return NULL;
    RecorderObject *self = (RecorderObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    int err = fd < 0 ? pn_recorder_make(&self->recorder)
                     : pn_recorder_open(&self->recorder, fd);
    if (err >= 0)
        return (PyObject *)self;
    pn_state *state = pn_state_of(type);
    if (state != NULL)
        (void)pn_raise_status(state, err);
    Py_DECREF(self);
    return NULL;
}

static void
recorder_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    RecorderObject *self = (RecorderObject *)op;
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs(op);
    pn_recorder_close(&self->recorder);
    type->tp_free(op);
    Py_DECREF(type); /* every instance owns its heap type */
}

pn_recorder *
pn_recorder_of(pn_state *state, PyObject *op)
{
    if (PyObject_TypeCheck(op, (PyTypeObject *)state->recorder_type))
        return &((RecorderObject *)op)->recorder;
    PyErr_Format(PyExc_TypeError, "a Recorder is needed, not %.100s",
                 Py_TYPE(op)->tp_name);
    return NULL;
}

static PyObject *
raise_status(PyObject *op, int status)
{
    pn_state *state = pn_state_of(Py_TYPE(op));
    return state == NULL ? NULL : pn_raise_status(state, status);
}

/* --- loops --- */

/* Text that another process may be writing: of a copy, lest it change while
 * it is decoded. Up to its NUL, or all. */
static PyObject *
text_of(const char *bytes, size_t size)
{
    char copy[64];
    if (size > sizeof copy)
        size = sizeof copy;
    for (size_t i = 0; i < size; i++)
        copy[i] = ((const volatile char *)bytes)[i];
    return PyUnicode_DecodeUTF8(copy, (Py_ssize_t)strnlen(copy, size),
                                "replace");
}

/* A time as seconds that have passed since; 0 if it is to come, or none. */
static double
seconds_since(int64_t then)
{
    int64_t now = pn_clock_now();
    return then > 0 && then < now ? (double)(now - then) / 1e9 : 0.0;
}

/* The command's name, without its mark. */
static PyObject *
command_of(const char *name)
{
    if (*name == '.' || *name == ':')
        name++;
    return text_of(name, strlen(name));
}

/* (command, seconds, actor), or None. */
static PyObject *
busy_of(const pn_recorder_loop *loop)
{
    pn_recorder_busy busy;
    if (!pn_recorder_is_busy(loop, &busy))
        Py_RETURN_NONE;
    return Py_BuildValue("(NdK)", command_of(busy.command),
                         seconds_since(busy.began),
                         (unsigned long long)busy.actor);
}

/* Seconds since then; None for 0. */
static PyObject *
since(int64_t then)
{
    if (then == 0)
        Py_RETURN_NONE;
    return PyFloat_FromDouble(seconds_since(then));
}

static PyObject *
awake_of(const pn_recorder_loop *loop)
{
    return since(loop->awake);
}

static PyObject *
describe(const pn_recorder_loop *loop)
{
    return Py_BuildValue(
        "{sKsKsNsNsIsIsKsKsNsNsNsIsIsIsI}", "node",
        (unsigned long long)loop->node, "manager",
        (unsigned long long)loop->manager, "kind",
        text_of(loop->kind, sizeof loop->kind), "name",
        text_of(loop->name, sizeof loop->name), "state", (unsigned)loop->state,
        "thread", (unsigned)loop->thread, "beats",
        (unsigned long long)loop->beats, "handled",
        (unsigned long long)loop->handled, "awake", awake_of(loop), "turned",
        since(loop->turned), "busy", busy_of(loop), "actors",
        (unsigned)loop->cells, "asks", (unsigned)loop->asks, "running",
        (unsigned)loop->running, "waiting", (unsigned)loop->waiting);
}

PyDoc_STRVAR(loops_doc, "loops($self, /)\n--\n\n"
                        "What its loops tell of themselves: a dict for each.");

static PyObject *
recorder_loops(PyObject *op, PyObject *unused)
{
    (void)unused;
    const pn_recorder *self = &((RecorderObject *)op)->recorder;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < PN_RECORDER_LOOPS; i++) {
        const pn_recorder_loop *loop = &self->page->loops[i];
        uint64_t node = loop->node;
        if (node == 0 || node == UINT64_MAX)
            continue;
        PyObject *found = describe(loop);
        if (found == NULL || PyList_Append(list, found) < 0)
            Py_CLEAR(list);
        Py_XDECREF(found);
    }
    return list;
}

/* What `tell` says of a node's loop; None without one. */
static PyObject *
of_node(PyObject *op, PyObject *node,
        PyObject *(*tell)(const pn_recorder_loop *))
{
    unsigned long long number = PyLong_AsUnsignedLongLong(node);
    if (number == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    const pn_recorder_loop *loop =
        number == 0
            ? NULL
            : pn_recorder_find(&((RecorderObject *)op)->recorder, number);
    return loop == NULL ? Py_NewRef(Py_None) : tell(loop);
}

PyDoc_STRVAR(busy_doc,
             "busy($self, node, /)\n--\n\n"
             "(command, seconds, actor) while a plain function of the node\n"
             "runs: its command's name, since when, whose. Else None.");

static PyObject *
recorder_busy(PyObject *op, PyObject *node)
{
    return of_node(op, node, busy_of);
}

PyDoc_STRVAR(beats_doc,
             "beats($self, node, /)\n--\n\n"
             "How many turns the node's loop has made; None without it.");

static PyObject *
beats_of(const pn_recorder_loop *loop)
{
    return PyLong_FromUnsignedLongLong(loop->beats);
}

static PyObject *
recorder_beats(PyObject *op, PyObject *node)
{
    return of_node(op, node, beats_of);
}

PyDoc_STRVAR(awake_doc,
             "awake($self, node, /)\n--\n\n"
             "Seconds that the present turn of the node's loop lasts; None\n"
             "if it sleeps, or does not tell.");

static PyObject *
recorder_awake(PyObject *op, PyObject *node)
{
    return of_node(op, node, awake_of);
}

PyDoc_STRVAR(asleep_doc,
             "asleep($self, node, /)\n--\n\n"
             "Whether the node's loop tells when it sleeps, and does; None\n"
             "without it.");

static PyObject *
asleep_of(const pn_recorder_loop *loop)
{
    return PyBool_FromLong(pn_recorder_is_asleep(loop));
}

static PyObject *
recorder_asleep(PyObject *op, PyObject *node)
{
    return of_node(op, node, asleep_of);
}

/* --- records --- */

static bool
concerns(const pn_recorder_record *record, uint64_t node)
{
    return node == 0 || pn_node_of(record->source) == node ||
           pn_node_of(record->target) == node;
}

static PyObject *
convert(const pn_recorder_record *record)
{
    return Py_BuildValue("(KLBBKKKIN)", (unsigned long long)record->index,
                         (long long)record->time, record->what, record->kind,
                         (unsigned long long)record->source,
                         (unsigned long long)record->target,
                         (unsigned long long)record->id,
                         (unsigned)record->size, command_of(record->name));
}

PyDoc_STRVAR(records_doc,
             "records($self, node=0, count=0, /)\n--\n\n"
             "The last count records (0: all) that are there, oldest first;\n"
             "with a node, of those that concern it: (index, monotonic ns,\n"
             "what, kind, source, target, id, size, name).");

static PyObject *
recorder_records(PyObject *op, PyObject *args)
{
    const pn_recorder *self = &((RecorderObject *)op)->recorder;
    unsigned long long node = 0;
    Py_ssize_t count = 0;
    if (!PyArg_ParseTuple(args, "|Kn:records", &node, &count))
        return NULL;
    PyObject *list = PyList_New(0);
    pn_recorder_record record;
    uint64_t index = pn_recorder_written(self);
    uint64_t oldest = pn_recorder_oldest(index);
    while (list != NULL && index-- > oldest &&
           (count <= 0 || PyList_GET_SIZE(list) < count)) {
        if (pn_recorder_read(self, index, &record) != PN_OK ||
            !concerns(&record, node))
            continue;
        PyObject *item = convert(&record);
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    if (list != NULL && PyList_Reverse(list) < 0)
        Py_CLEAR(list);
    return list;
}

/* --- fuses --- */

PyDoc_STRVAR(
    doom_doc,
    "doom($self, source, id=0, /)\n--\n\n"
    "Who asked that is gone; without an id, all that asked from that\n"
    "node. Whether a plain function still works for it that may cost\n"
    "its process: that one is to be ended then.");

static PyObject *
recorder_doom(PyObject *op, PyObject *args)
{
    unsigned long long source, id = 0;
    if (!PyArg_ParseTuple(args, "K|K:doom", &source, &id))
        return NULL;
    pn_recorder_ask ask = {source, id};
    return PyBool_FromLong(
        pn_recorder_doom(&((RecorderObject *)op)->recorder, ask));
}

PyDoc_STRVAR(begun_doc,
             "begun($self, /)\n--\n\n"
             "Of a process that was ended while such a function ran: the\n"
             "asks that had begun, as a list of (source, id); else None.");

static PyObject *
recorder_begun(PyObject *op, PyObject *unused)
{
    (void)unused;
    pn_recorder_ask asks[PN_RECORDER_BEGUN + 1];
    int count = pn_recorder_begun(&((RecorderObject *)op)->recorder, asks);
    if (count < 0)
        Py_RETURN_NONE;
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < count; i++) {
        PyObject *item =
            Py_BuildValue("(KK)", (unsigned long long)asks[i].source,
                          (unsigned long long)asks[i].id);
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* --- stacks --- */

PyDoc_STRVAR(stacks_size_doc, "stacks_size($self, /)\n--\n\n"
                              "How many bytes of stacks were written, ever.");

static PyObject *
recorder_stacks_size(PyObject *op, PyObject *unused)
{
    (void)unused;
    int64_t size = pn_recorder_stacks_size(&((RecorderObject *)op)->recorder);
    return size < 0 ? raise_status(op, (int)size) : PyLong_FromLongLong(size);
}

PyDoc_STRVAR(stacks_doc,
             "stacks($self, since=0, /)\n--\n\n"
             "What was written behind the first *since* bytes of stacks, at\n"
             "most 1 MiB.");

static PyObject *
recorder_stacks(PyObject *op, PyObject *args)
{
    const pn_recorder *self = &((RecorderObject *)op)->recorder;
    long long since = 0;
    if (!PyArg_ParseTuple(args, "|L:stacks", &since))
        return NULL;
    if (since < 0)
        return PyErr_Format(PyExc_ValueError, "since is negative: %lld",
                            since);
    int64_t left = pn_recorder_stacks_size(self) - since;
    if (left < 0)
        left = 0;
    PyObject *bytes = PyBytes_FromStringAndSize(
        NULL, left < STACKS_LIMIT ? (Py_ssize_t)left : STACKS_LIMIT);
    if (bytes == NULL)
        return NULL;
    int64_t got =
        pn_recorder_read_stacks(self, since, PyBytes_AS_STRING(bytes),
                                (size_t)PyBytes_GET_SIZE(bytes));
    if (got < 0) {
        Py_DECREF(bytes);
        return raise_status(op, (int)got);
    }
    (void)_PyBytes_Resize(&bytes, (Py_ssize_t)got);
    return bytes;
}

PyDoc_STRVAR(drop_stacks_doc,
             "drop_stacks($self, /)\n--\n\n"
             "Give back the memory of those that were written: they read as\n"
             "NUL bytes.");

static PyObject *
recorder_drop_stacks(PyObject *op, PyObject *unused)
{
    (void)unused;
    pn_recorder_drop_stacks(&((RecorderObject *)op)->recorder);
    Py_RETURN_NONE;
}

/* --- the type --- */

static PyObject *
recorder_fileno(PyObject *op, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(((RecorderObject *)op)->recorder.fd);
}

static PyObject *
recorder_own(PyObject *op, PyObject *unused)
{
    (void)unused;
    pn_recorder_own(&((RecorderObject *)op)->recorder);
    Py_RETURN_NONE;
}

static PyObject *
recorder_get_pid(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromLong(((RecorderObject *)op)->recorder.page->pid);
}

static PyObject *
recorder_get_base(PyObject *op, void *closure)
{
    (void)closure;
    const pn_recorder_page *page = ((RecorderObject *)op)->recorder.page;
    return Py_BuildValue("(LL)", (long long)page->made,
                         (long long)page->made_wall);
}

static PyMethodDef recorder_methods[] = {
    {"fileno", recorder_fileno, METH_NOARGS,
     PyDoc_STR("fileno($self, /)\n--\n\nIts descriptor.")},
    {"own", recorder_own, METH_NOARGS,
     PyDoc_STR("own($self, /)\n--\n\nThis process is what it tells of.")},
    {"loops", recorder_loops, METH_NOARGS, loops_doc},
    {"busy", recorder_busy, METH_O, busy_doc},
    {"beats", recorder_beats, METH_O, beats_doc},
    {"awake", recorder_awake, METH_O, awake_doc},
    {"asleep", recorder_asleep, METH_O, asleep_doc},
    {"records", recorder_records, METH_VARARGS, records_doc},
    {"doom", recorder_doom, METH_VARARGS, doom_doc},
    {"begun", recorder_begun, METH_NOARGS, begun_doc},
    {"stacks_size", recorder_stacks_size, METH_NOARGS, stacks_size_doc},
    {"stacks", recorder_stacks, METH_VARARGS, stacks_doc},
    {"drop_stacks", recorder_drop_stacks, METH_NOARGS, drop_stacks_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef recorder_getset[] = {
    {"pid", recorder_get_pid, NULL, "Of the process; 0 before it is there.",
     NULL},
    {"base", recorder_get_base, NULL,
     "The moment of its making: (monotonic ns, epoch ns).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef recorder_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RecorderObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(recorder_doc,
             "Recorder(fd=-1)\n--\n\n"
             "A flight recorder: what the loops of one process do, in memory\n"
             "that others map, too. A new one, or the one that *fd* stands\n"
             "for, which is taken over. Raises OSError where there can be\n"
             "none, ProtocolError for what is none.");

static PyType_Slot recorder_slots[] = {
    {Py_tp_doc, (void *)recorder_doc},
    {Py_tp_new, recorder_new},
    {Py_tp_dealloc, recorder_dealloc},
    {Py_tp_methods, recorder_methods},
    {Py_tp_members, recorder_members},
    {Py_tp_getset, recorder_getset},
    {0, NULL},
};

static PyType_Spec recorder_spec = {
    .name = "pulsar_native._native.Recorder",
    .basicsize = sizeof(RecorderObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = recorder_slots,
};

int
pn_add_recorder(PyObject *module, pn_state *state)
{
    state->recorder_type =
        PyType_FromModuleAndSpec(module, &recorder_spec, NULL);
    if (state->recorder_type == NULL)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->recorder_type);
}
