#include "python/system.h"

#include "sys/cpus.h"

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

static PyMethodDef functions[] = {
    {"usable_cpus", usable_cpus, METH_NOARGS, usable_cpus_doc},
    {NULL, NULL, 0, NULL},
};

int
pn_add_system(PyObject *module, pn_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, functions);
}
