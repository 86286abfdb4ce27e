#include "python/down.h"

#include "mailbox/envelope.h"
#include "python/error.h"
#include "python/view.h"

#include <endian.h>
#include <string.h>

#define PARTS 4 /* the ids, then the texts */

/* An int, or what stands for None. 0, or -1 with an exception. */
static int
parse_optional(PyObject *value, int32_t none, int32_t *out)
{
    int number = none;
    if (value != Py_None && !PyArg_Parse(value, "i", &number))
        return -1;
    *out = number;
    return 0;
}

/* What is written of a text; NULL with an exception. */
static PyObject *
encode(PyObject *text, uint32_t *size)
{
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "replace");
    if (bytes != NULL && PyBytes_GET_SIZE(bytes) > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too long for a report");
        Py_CLEAR(bytes);
    }
    if (bytes != NULL)
        *size = (uint32_t)PyBytes_GET_SIZE(bytes);
    return bytes;
}

/* The ids, or None: not known. 0, or -1 with an exception. */
static int
encode_begun(PyObject *value, pn_down *down, PyObject **out)
{
    bool known = value != NULL && value != Py_None;
    PyObject *ids = known ? PySequence_Tuple(value) : PyTuple_New(0);
    if (ids == NULL)
        return -1;
    Py_ssize_t count = PyTuple_GET_SIZE(ids);
    if (count > PN_DOWN_BEGUN) {
        known = false;
        count = 0;
    }
    down->known = known;
    down->begun_count = (uint16_t)count;
    *out = PyBytes_FromStringAndSize(NULL, count * 8);
    for (Py_ssize_t i = 0; *out != NULL && i < count; i++) {
        uint64_t id = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(ids, i));
        uint64_t wire = htole64(id);
        if (PyErr_Occurred())
            Py_CLEAR(*out);
        else
            memcpy(PyBytes_AS_STRING(*out) + i * 8, &wire, sizeof wire);
    }
    Py_DECREF(ids);
    return *out == NULL ? -1 : 0;
}

/* All parts in one. */
static PyObject *
join(const pn_down *down, PyObject *const parts[PARTS])
{
    Py_ssize_t size = PN_DOWN_SIZE;
    for (int i = 0; i < PARTS; i++)
        size += PyBytes_GET_SIZE(parts[i]);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL)
        return NULL;
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(bytes);
    pn_down_encode(down, out);
    out += PN_DOWN_SIZE;
    for (int i = 0; i < PARTS; i++) {
        size_t len = (size_t)PyBytes_GET_SIZE(parts[i]);
        memcpy(out, PyBytes_AS_STRING(parts[i]), len);
        out += len;
    }
    return bytes;
}

PyDoc_STRVAR(
    dump_doc,
    "dump_down($module, reason, exit_code, signal, core=False, oom=False,\n"
    "          output='', traceback='', begun=None, /)\n--\n\n"
    "The payload that tells of an actor's end; never pickle.\n\n"
    "*exit_code* and *signal* are ints of 32 bits or None, *core* a bool,\n"
    "*oom* one or None; what is no UTF-8 in the texts becomes a question\n"
    "mark. *begun*: the ids of those asks of the receiver's that had begun,\n"
    "or None. Raises OverflowError or TypeError.");

/* As parsed; borrowed. */
typedef struct {
    PyObject *reason, *code, *signal, *oom, *output, *traceback, *begun;
    int core;
} given_end;

/* A text, or what stands for none; NULL with an exception. */
static PyObject *
encode_given(PyObject *text, uint32_t *size)
{
    *size = 0;
    return text == NULL ? PyBytes_FromStringAndSize(NULL, 0)
                        : encode(text, size);
}

/* 0, or -1 with an exception; what is set of the parts is the caller's. */
static int
encode_end(const given_end *end, pn_down *down, PyObject *parts[PARTS])
{
    uint32_t traceback_size;
    int killed = end->oom == Py_None ? 0 : PyObject_IsTrue(end->oom);
    if (killed < 0 ||
        parse_optional(end->code, PN_NO_EXIT_CODE, &down->exit_code) < 0 ||
        parse_optional(end->signal, 0, &down->signal) < 0 ||
        encode_begun(end->begun, down, &parts[0]) < 0)
        return -1;
    down->core = end->core != 0;
    down->oom = end->oom == Py_None ? PN_OOM_UNKNOWN
                : killed            ? PN_OOM_YES
                                    : PN_OOM_NO;
    parts[1] = encode(end->reason, &down->reason_size);
    if (parts[1] != NULL)
        parts[2] = encode_given(end->output, &down->output_size);
    if (parts[2] != NULL)
        parts[3] = encode_given(end->traceback, &traceback_size);
    return parts[3] == NULL ? -1 : 0;
}

static PyObject *
dump_down(PyObject *Py_UNUSED(module), PyObject *args)
{
    given_end end = {.oom = Py_False};
    PyObject *bytes = NULL, *parts[PARTS] = {NULL};
    pn_down down = {0};
    if (!PyArg_ParseTuple(args, "UOO|pOUUO:dump_down", &end.reason, &end.code,
                          &end.signal, &end.core, &end.oom, &end.output,
                          &end.traceback, &end.begun))
        return NULL;
    if (encode_end(&end, &down, parts) == 0)
        bytes = join(&down, parts);
    for (int i = 0; i < PARTS; i++)
        Py_XDECREF(parts[i]);
    return bytes;
}

static PyObject *
optional(int32_t value, int32_t none)
{
    return value == none ? Py_NewRef(Py_None) : PyLong_FromLong(value);
}

static PyObject *
text_of(const char *bytes, size_t size)
{
    return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, "replace");
}

/* The ids, or None. */
static PyObject *
begun_of(const pn_down *down)
{
    if (!down->known)
        return Py_NewRef(Py_None);
    PyObject *ids = PyTuple_New(down->begun_count);
    for (Py_ssize_t i = 0; ids != NULL && i < down->begun_count; i++) {
        uint64_t wire;
        memcpy(&wire, down->begun + i * 8, sizeof wire);
        PyObject *id = PyLong_FromUnsignedLongLong(le64toh(wire));
        if (id == NULL)
            Py_CLEAR(ids);
        else
            PyTuple_SET_ITEM(ids, i, id);
    }
    return ids;
}

static PyObject *
tuple_of(const pn_down *down)
{
    PyObject *oom = down->oom == PN_OOM_UNKNOWN
                        ? Py_NewRef(Py_None)
                        : PyBool_FromLong(down->oom == PN_OOM_YES);
    return Py_BuildValue(
        "(NNNNNNNN)", text_of(down->reason, down->reason_size),
        optional(down->exit_code, PN_NO_EXIT_CODE), optional(down->signal, 0),
        PyBool_FromLong(down->core), oom,
        text_of(down->output, down->output_size),
        text_of(down->traceback, down->traceback_size), begun_of(down));
}

PyDoc_STRVAR(
    load_doc,
    "load_down($module, data, /)\n--\n\n"
    "(reason, exit_code, signal, core, oom, output, traceback, begun): what\n"
    "dump_down() was given.\n\n"
    "Raises ProtocolError for *data*, any contiguous buffer, that\n"
    "dump_down() cannot have made.");

static PyObject *
load_down(PyObject *module, PyObject *data)
{
    pn_view view;
    pn_down down;
    PyObject *result = NULL;
    if (pn_view_open(&view, data) < 0)
        return NULL;
    int err = pn_down_decode(&down, view.data, view.len);
    if (err < 0)
        (void)pn_raise_status(PyModule_GetState(module), err);
    else
        result = tuple_of(&down);
    pn_view_close(&view);
    return result;
}

static PyMethodDef functions[] = {
    {"dump_down", dump_down, METH_VARARGS, dump_doc},
    {"load_down", load_down, METH_O, load_doc},
    {NULL, NULL, 0, NULL},
};

int
pn_add_down(PyObject *module, pn_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, functions);
}
