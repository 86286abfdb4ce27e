#include "python/immortal.h"

#include "python/pools.h"
#include "sys/heap.h"

#include <stdbool.h>
#include <stdint.h>

/* PEP 683 in the two versions that say it so; the free-threaded build counts
 * otherwise. */
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000 &&            \
    UINTPTR_MAX > UINT32_MAX && !defined(Py_GIL_DISABLED)

enum { DEPTH = 16 }; /* tuples within tuples */

#define IMMORTAL ((Py_ssize_t)UINT32_MAX)

static bool keep(PyObject *op, int depth);

/* True: a value that refers to nothing. */
static bool
is_plain(PyObject *op)
{
    return PyUnicode_CheckExact(op) || PyLong_CheckExact(op) ||
           PyBytes_CheckExact(op) || PyFloat_CheckExact(op);
}

/* True: a function of a module or type, not bound to an object that ends. */
static bool
is_function(PyObject *op)
{
    if (PyFunction_Check(op))
        return PyFunction_GetClosure(op) == NULL;
    if (!PyCFunction_CheckExact(op))
        return false;
    PyObject *self = PyCFunction_GetSelf(op);
    return self == NULL || PyModule_Check(self) || PyType_Check(self);
}

/* True: what modules and types are made of. */
static bool
is_structure(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    return PyType_Check(op) || PyModule_Check(op) || is_function(op) ||
           type == &PyMethodDescr_Type || type == &PyGetSetDescr_Type ||
           type == &PyMemberDescr_Type || type == &PyWrapperDescr_Type ||
           type == &PyClassMethodDescr_Type || type == &PyProperty_Type ||
           type == &PyStaticMethod_Type || type == &PyClassMethod_Type;
}

static void
keep_part(PyObject *code, const char *name, int depth)
{
    PyObject *part = PyObject_GetAttrString(code, name);
    if (part == NULL) {
        PyErr_Clear(); /* of another version */
        return;
    }
    (void)keep(part, depth);
    Py_DECREF(part);
}

static void
keep_code(PyObject *code, int depth)
{
    static const char *const parts[] = {"co_consts", "co_names", "co_name",
                                        "co_qualname", "co_filename"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        keep_part(code, parts[i], depth);
}

/* A tuple only if all in it is kept: else it could be the last to refer to
 * something whose end matters. */
static bool
keep_all(PyObject *tuple, int depth)
{
    bool all = true;
    for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); i++)
        all = keep(PyTuple_GetItem(tuple, i), depth) && all;
    return all;
}

/* Whether it is immortal now. */
static bool
keep(PyObject *op, int depth)
{
    if (Py_REFCNT(op) == IMMORTAL)
        return true;
    if (depth == DEPTH)
        return false;
    if (PyTuple_CheckExact(op) && !keep_all(op, depth + 1))
        return false;
    if (!PyTuple_CheckExact(op) && !PyCode_Check(op) && !is_plain(op) &&
        !is_structure(op))
        return false;
    Py_SET_REFCNT(op, IMMORTAL);
    if (PyCode_Check(op))
        keep_code(op, depth + 1);
    if (PyModule_Check(op))
        Py_SET_REFCNT(PyModule_GetDict(op), IMMORTAL);
    return true;
}

static int
visit_referent(PyObject *op, void *Py_UNUSED(arg))
{
    (void)keep(op, 0);
    return 0;
}

static int
visit_object(PyObject *op, void *Py_UNUSED(arg))
{
    (void)keep(op, 0);
    traverseproc traverse = Py_TYPE(op)->tp_traverse;
    if (traverse != NULL)
        (void)traverse(op, visit_referent, NULL);
    return 1;
}

static void
keep_everything(void)
{
    PyUnstable_GC_VisitObjects(visit_object, NULL);
}

#else

static void
keep_everything(void)
{
}

#endif

PyDoc_STRVAR(freeze_doc,
             "forkserver_freeze($module, /)\n--\n\n"
             "Make modules, types, functions and constants that are loaded\n"
             "immortal: for the fork server, whose children then share\n"
             "their memory with it. What is lost: such an object is never\n"
             "freed. Only from CPython 3.12 on. Takes the gaps in the memory\n"
             "that is in use, too, so that new objects lie side by side.");

static PyObject *
forkserver_freeze(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    keep_everything();
    pn_pools_fill();
    (void)pn_heap_fill();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"forkserver_freeze", forkserver_freeze, METH_NOARGS, freeze_doc},
    {NULL, NULL, 0, NULL},
};

int
pn_add_immortal(PyObject *module, pn_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, functions);
}
