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

PyDoc_STRVAR(dump_doc,
             "dump_down($module, reason, exit_code, signal, /)\n--\n\n"
             "The payload that tells of an actor's end; never pickle.\n\n"
             "*exit_code* and *signal* are ints of 32 bits or None; what is\n"
             "no UTF-8 in *reason* becomes a question mark. Raises\n"
             "OverflowError or TypeError.");

static PyObject *
dump_down(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *reason, *code, *signal;
    pn_down down = {0};
    if (!PyArg_ParseTuple(args, "UOO:dump_down", &reason, &code, &signal) ||
        parse_optional(code, PN_NO_EXIT_CODE, &down.exit_code) < 0 ||
        parse_optional(signal, 0, &down.signal) < 0)
        return NULL;
    PyObject *text = PyUnicode_AsEncodedString(reason, "utf-8", "replace");
    if (text == NULL)
        return NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(text);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, PN_DOWN_SIZE + size);
    if (bytes != NULL) {
        uint8_t *out = (uint8_t *)PyBytes_AS_STRING(bytes);
        pn_down_encode(&down, out);
        memcpy(out + PN_DOWN_SIZE, PyBytes_AS_STRING(text), (size_t)size);
    }
    Py_DECREF(text);
    return bytes;
}

static PyObject *
optional(int32_t value, int32_t none)
{
    return value == none ? Py_NewRef(Py_None) : PyLong_FromLong(value);
}

PyDoc_STRVAR(
    load_doc,
    "load_down($module, data, /)\n--\n\n"
    "(reason, exit_code, signal): what dump_down() was given.\n\n"
    "Raises ProtocolError for *data*, any contiguous buffer, that is\n"
    "cut short.");

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
        result = Py_BuildValue(
            "(NNN)",
            PyUnicode_DecodeUTF8(down.reason, (Py_ssize_t)down.reason_size,
                                 "replace"),
            optional(down.exit_code, PN_NO_EXIT_CODE),
            optional(down.signal, 0));
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
