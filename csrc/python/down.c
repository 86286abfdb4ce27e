#include "python/down.h"

#include "mailbox/envelope.h"
#include "python/error.h"
#include "python/view.h"

#include <string.h>

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

/* Both parts in one. */
static PyObject *
join(const pn_down *down, PyObject *const texts[3])
{
    Py_ssize_t size = PN_DOWN_SIZE;
    for (int i = 0; i < 3; i++)
        size += PyBytes_GET_SIZE(texts[i]);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL)
        return NULL;
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(bytes);
    pn_down_encode(down, out);
    out += PN_DOWN_SIZE;
    for (int i = 0; i < 3; i++) {
        size_t len = (size_t)PyBytes_GET_SIZE(texts[i]);
        memcpy(out, PyBytes_AS_STRING(texts[i]), len);
        out += len;
    }
    return bytes;
}

PyDoc_STRVAR(
    dump_doc,
    "dump_down($module, reason, exit_code, signal, core=False, oom=False,\n"
    "          output='', traceback='', /)\n--\n\n"
    "The payload that tells of an actor's end; never pickle.\n\n"
    "*exit_code* and *signal* are ints of 32 bits or None, *core* a bool,\n"
    "*oom* one or None; what is no UTF-8 in the texts becomes a question\n"
    "mark. Raises OverflowError or TypeError.");

static PyObject *
dump_down(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *reason, *code, *signal, *oom = Py_False, *bytes = NULL;
    PyObject *output = NULL, *traceback = NULL, *texts[3] = {NULL};
    uint32_t traceback_size;
    int core = 0;
    pn_down down = {0};
    if (!PyArg_ParseTuple(args, "UOO|pOUU:dump_down", &reason, &code, &signal,
                          &core, &oom, &output, &traceback) ||
        parse_optional(code, PN_NO_EXIT_CODE, &down.exit_code) < 0 ||
        parse_optional(signal, 0, &down.signal) < 0)
        return NULL;
    int killed = oom == Py_None ? 0 : PyObject_IsTrue(oom);
    PyObject *none = PyUnicode_New(0, 0);
    if (killed >= 0 && none != NULL &&
        (texts[0] = encode(reason, &down.reason_size)) != NULL &&
        (texts[1] = encode(output == NULL ? none : output,
                           &down.output_size)) != NULL &&
        (texts[2] = encode(traceback == NULL ? none : traceback,
                           &traceback_size)) != NULL) {
        down.core = core != 0;
        down.oom = oom == Py_None ? PN_OOM_UNKNOWN
                   : killed       ? PN_OOM_YES
                                  : PN_OOM_NO;
        bytes = join(&down, texts);
    }
    Py_XDECREF(none);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(texts[i]);
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

static PyObject *
tuple_of(const pn_down *down)
{
    PyObject *oom = down->oom == PN_OOM_UNKNOWN
                        ? Py_NewRef(Py_None)
                        : PyBool_FromLong(down->oom == PN_OOM_YES);
    return Py_BuildValue("(NNNNNNN)", text_of(down->reason, down->reason_size),
                         optional(down->exit_code, PN_NO_EXIT_CODE),
                         optional(down->signal, 0),
                         PyBool_FromLong(down->core), oom,
                         text_of(down->output, down->output_size),
                         text_of(down->traceback, down->traceback_size));
}

PyDoc_STRVAR(
    load_doc,
    "load_down($module, data, /)\n--\n\n"
    "(reason, exit_code, signal, core, oom, output, traceback): what\n"
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
