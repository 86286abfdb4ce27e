#include "python/serializer.h"

#include "python/command.h"

typedef PyObject *(*conversion)(PyObject *serializer, PyObject *value);

PyObject *
pn_serializer_of(PyObject *command)
{
    PyObject *found = ((BaseCommandObject *)command)->serializer;
    return found == Py_None ? NULL : found;
}

PyObject *
pn_serializer_needed(PyObject *command)
{
    PyObject *found = pn_serializer_of(command);
    return found != NULL ? Py_NewRef(found)
                         : PyObject_CallMethod(command, "_serializer", NULL);
}

PyObject *
pn_serializer_dump(PyObject *serializer, PyObject *value)
{
    PyObject *bytes = PyObject_CallMethod(serializer, "dumps", "(O)", value);
    if (bytes == NULL || PyBytes_CheckExact(bytes))
        return bytes;
    PyErr_Format(PyExc_TypeError, "%s.dumps gave %s, not bytes",
                 Py_TYPE(serializer)->tp_name, Py_TYPE(bytes)->tp_name);
    Py_DECREF(bytes);
    return NULL;
}

PyObject *
pn_serializer_load(PyObject *serializer, PyObject *bytes)
{
    if (PyBytes_CheckExact(bytes))
        return PyObject_CallMethod(serializer, "loads", "(O)", bytes);
    PyErr_Format(PyExc_TypeError, "what was serialized is bytes, not %s",
                 Py_TYPE(bytes)->tp_name);
    return NULL;
}

static PyObject *
convert_tuple(conversion convert, PyObject *serializer, PyObject *args)
{
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    PyObject *found = PyTuple_New(count);
    for (Py_ssize_t i = 0; found != NULL && i < count; i++) {
        PyObject *value = convert(serializer, PyTuple_GET_ITEM(args, i));
        if (value == NULL)
            Py_CLEAR(found);
        else
            PyTuple_SET_ITEM(found, i, value);
    }
    return found;
}

/* Its values in place: the dict is ours alone. */
static int
convert_values(conversion convert, PyObject *serializer, PyObject *dict)
{
    PyObject *keys = PyDict_Keys(dict);
    int err = keys == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; err == 0 && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i);
        PyObject *old = Py_XNewRef(PyDict_GetItemWithError(dict, key));
        if (old == NULL && !PyErr_Occurred())
            PyErr_SetObject(PyExc_KeyError, key);
        PyObject *value = old == NULL ? NULL : convert(serializer, old);
        err = value == NULL ? -1 : PyDict_SetItem(dict, key, value);
        Py_XDECREF(value);
        Py_XDECREF(old);
    }
    Py_XDECREF(keys);
    return err;
}

static int
convert_all(conversion convert, PyObject *serializer, PyObject **args,
            PyObject **kwargs)
{
    PyObject *dict = NULL;
    PyObject *tuple = convert_tuple(convert, serializer, *args);
    if (tuple != NULL && *kwargs != NULL) {
        dict = PyDict_Copy(*kwargs);
        if (dict == NULL || convert_values(convert, serializer, dict) < 0)
            Py_CLEAR(tuple);
    }
    if (tuple == NULL) {
        Py_XDECREF(dict);
        return -1;
    }
    Py_SETREF(*args, tuple);
    Py_XSETREF(*kwargs, dict);
    return 0;
}

int
pn_serializer_dump_all(PyObject *serializer, PyObject **args,
                       PyObject **kwargs)
{
    return convert_all(pn_serializer_dump, serializer, args, kwargs);
}

int
pn_serializer_load_all(PyObject *serializer, PyObject **args,
                       PyObject **kwargs)
{
    return convert_all(pn_serializer_load, serializer, args, kwargs);
}
