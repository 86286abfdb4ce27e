#include "python/system.h"

#include "python/error.h"
#include "sys/cpus.h"
#include "sys/init.h"
#include "sys/libraries.h"

PyDoc_STRVAR(
    usable_cpus_doc,
    "usable_cpus($module, /)\n--\n\n"
    "How many processors this process may keep busy, at least 1: the\n"
    "lesser of its affinity and of the quota of its control group\n"
    "(version 1 or 2, the strictest around it), in whole processors.\n"
    "Looked up at each call.");

static PyObject *
usable_cpus(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromLong(pn_cpus_usable());
}

PyDoc_STRVAR(libraries_added_doc,
             "libraries_added($module, /)\n--\n\n"
             "How many shared libraries the loader has ever added to this\n"
             "process; 0 where it does not tell.");

static PyObject *
libraries_added(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromUnsignedLongLong(pn_libraries_added());
}

PyDoc_STRVAR(init_is_needed_doc,
             "init_is_needed($module, /)\n--\n\n"
             "Whether orphans become children of this process.");

static PyObject *
init_is_needed(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(pn_init_is_needed());
}

PyDoc_STRVAR(init_go_on_doc,
             "init_go_on($module, /)\n--\n\n"
             "Go on in a child, while this process reaps, passes signals on\n"
             "and ends as the child does. No at-fork handler is called.\n"
             "Raises OSError.");

static PyObject *
init_go_on(PyObject *module, PyObject *Py_UNUSED(unused))
{
    int err = pn_init_go_on();
    if (err < 0)
        return pn_raise_status(PyModule_GetState(module), err);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"init_is_needed", init_is_needed, METH_NOARGS, init_is_needed_doc},
    {"init_go_on", init_go_on, METH_NOARGS, init_go_on_doc},
    {"libraries_added", libraries_added, METH_NOARGS, libraries_added_doc},
    {"usable_cpus", usable_cpus, METH_NOARGS, usable_cpus_doc},
    {NULL, NULL, 0, NULL},
};

int
pn_add_system(PyObject *module, pn_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, functions);
}
