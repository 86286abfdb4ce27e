#include "python/payload.h"

#include "python/plain.h"

#include <stdbool.h>

/* Deeper or longer values are left to dumps, which looks at each object. */
#define PLAIN_DEPTH 4
#define PLAIN_ITEMS 64

/* Up to here a copy into a bytes object is cheaper than a memoryview. */
#define COPY_LIMIT 4096

static bool is_plain(PyObject *value, int depth);

static bool
scalar_is_plain(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyLong_Type || type == &PyUnicode_Type ||
           type == &PyFloat_Type || type == &PyBytes_Type ||
           type == &PyBool_Type || value == Py_None;
}

static bool
items_are_plain(PyObject *const *items, Py_ssize_t count, int depth)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!scalar_is_plain(items[i]) && !is_plain(items[i], depth - 1))
            return false;
    }
    return true;
}

static bool
dict_is_plain(PyObject *dict, int depth)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (PyDict_Size(dict) > PLAIN_ITEMS)
        return false;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!is_plain(key, depth - 1) || !is_plain(value, depth - 1))
            return false;
    }
    return true;
}

static bool
is_plain(PyObject *value, int depth)
{
    if (scalar_is_plain(value))
        return true;
    if (depth == 0)
        return false;
    if (PyTuple_CheckExact(value)) {
        Py_ssize_t count = PyTuple_GET_SIZE(value);
        return count <= PLAIN_ITEMS &&
               items_are_plain(&PyTuple_GET_ITEM(value, 0), count, depth);
    }
    if (PyList_CheckExact(value)) {
        Py_ssize_t count = PyList_GET_SIZE(value);
        return count <= PLAIN_ITEMS &&
               items_are_plain(&PyList_GET_ITEM(value, 0), count, depth);
    }
    return PyDict_CheckExact(value) && dict_is_plain(value, depth);
}

static void
release_object(void *owner)
{
    Py_DECREF((PyObject *)owner);
}

int
pn_payload_of(PyObject *bytes, pn_ref *out)
{
    if (!PyBytes_CheckExact(bytes)) {
        PyErr_Format(PyExc_TypeError, "a payload is bytes, not %s",
                     Py_TYPE(bytes)->tp_name);
        return -1;
    }
    *out = (pn_ref){
        .data = (const uint8_t *)PyBytes_AS_STRING(bytes),
        .size = (size_t)PyBytes_GET_SIZE(bytes),
        .owner = Py_NewRef(bytes),
        .release = release_object,
    };
    return 0;
}

int
pn_payload_dump_plain(pn_state *state, PyObject *value, pn_ref *out)
{
    PyObject *bytes;
    uint8_t plain[PN_PLAIN_SIZE];
    size_t size = pn_plain_dump(value, plain);
    *out = (pn_ref){0};
    if (size > 0) {
        bytes = PyBytes_FromStringAndSize((char *)plain, (Py_ssize_t)size);
    } else if (is_plain(value, PLAIN_DEPTH)) {
        PyObject *args[] = {value, state->protocol};
        bytes = PyObject_Vectorcall(state->pickle_dumps, args, 2, NULL);
    } else {
        return 0;
    }
    int err = bytes == NULL ? -1 : pn_payload_of(bytes, out);
    Py_XDECREF(bytes);
    return err;
}

int
pn_payload_dump(pn_state *state, PyObject *dumps, PyObject *value, pn_ref *out)
{
    int err = pn_payload_dump_plain(state, value, out);
    if (err < 0 || out->data != NULL)
        return err;
    PyObject *bytes = PyObject_CallOneArg(dumps, value);
    err = bytes == NULL ? -1 : pn_payload_of(bytes, out);
    Py_XDECREF(bytes);
    return err;
}

/* The view's memory is lent: frames that an exception keeps must not reach it
 * any more. If something still looks through the view, that is the failure. */
static void
take_view_back(pn_state *state, PyObject *view, PyObject **value)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *released = PyObject_CallMethodNoArgs(view, state->release);
    if (released == NULL) {
        Py_CLEAR(*value);
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return;
    }
    Py_DECREF(released);
    PyErr_Restore(type, error, traceback);
}

PyObject *
pn_payload_load_with(pn_state *state, PyObject *loads, const uint8_t *bytes,
                     size_t size, PyObject *buffers)
{
    PyObject *view = PyMemoryView_FromMemory((char *)(uintptr_t)bytes,
                                             (Py_ssize_t)size, PyBUF_READ);
    if (view == NULL)
        return NULL;
    PyObject *args[] = {view, buffers};
    PyObject *value =
        buffers == NULL ? PyObject_CallOneArg(loads, view)
                        : PyObject_Vectorcall(loads, args, 1, state->buffers);
    take_view_back(state, view, &value);
    Py_DECREF(view);
    return value;
}

PyObject *
pn_payload_load(pn_state *state, PyObject *loads, const uint8_t *bytes,
                size_t size)
{
    if (pn_plain_is(bytes, size))
        return pn_plain_load(bytes, size);
    if (size > COPY_LIMIT)
        return pn_payload_load_with(state, loads, bytes, size, NULL);
    PyObject *data =
        PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size);
    if (data == NULL)
        return NULL;
    PyObject *value = PyObject_CallOneArg(loads, data);
    Py_DECREF(data);
    return value;
}
