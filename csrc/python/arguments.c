#include "python/arguments.h"

static int
bind_keyword(const pn_signature *signature, PyObject *name, PyObject *value,
             PyObject **out)
{
    for (Py_ssize_t i = 0; i < signature->count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, signature->names[i]) != 0)
            continue;
        if (out[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got '%U' twice",
                         signature->method, name);
            return -1;
        }
        out[i] = value;
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() has no argument '%U'",
                 signature->method, name);
    return -1;
}

int
pn_bind_arguments(const pn_signature *signature, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames, PyObject **out)
{
    if (nargs > signature->count) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %zd arguments, got %zd",
                     signature->method, signature->count, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < signature->count; i++)
        out[i] = i < nargs ? args[i] : NULL;
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < named; i++) {
        if (bind_keyword(signature, PyTuple_GET_ITEM(kwnames, i),
                         args[nargs + i], out) < 0)
            return -1;
    }
    for (Py_ssize_t i = 0; i < signature->required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() needs argument '%s'",
                         signature->method, signature->names[i]);
            return -1;
        }
    }
    return 0;
}
