/* BaseProxy: pulsar_native.proxy derives the public type from it. */
#include "python/proxy.h"

#include <structmember.h>

static int
proxy_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"aid", "name", "number", NULL};
    BaseProxyObject *self = (BaseProxyObject *)op;
    PyObject *aid, *name;
    unsigned long long number;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UUK:ActorProxy", names,
                                     &aid, &name, &number))
        return -1;
    pn_state *state = pn_state_of(Py_TYPE(op));
    if (state == NULL)
        return -1;
    Py_XSETREF(self->aid, Py_NewRef(aid));
    Py_XSETREF(self->name, Py_NewRef(name));
    Py_XSETREF(self->generation, Py_NewRef(state->generation));
    self->number = number;
    return 0;
}

static int
proxy_traverse(PyObject *op, visitproc visit, void *arg)
{
    BaseProxyObject *self = (BaseProxyObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->aid);
    Py_VISIT(self->name);
    Py_VISIT(self->generation);
    return 0;
}

static int
proxy_clear(PyObject *op)
{
    BaseProxyObject *self = (BaseProxyObject *)op;
    Py_CLEAR(self->aid);
    Py_CLEAR(self->name);
    Py_CLEAR(self->generation);
    return 0;
}

static void
proxy_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)proxy_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
proxy_get_ours(PyObject *op, void *closure)
{
    (void)closure;
    pn_state *state = pn_state_of(Py_TYPE(op));
    if (state == NULL)
        return NULL;
    return PyBool_FromLong(((BaseProxyObject *)op)->generation ==
                           state->generation);
}

static PyMemberDef proxy_members[] = {
    {"aid", T_OBJECT_EX, offsetof(BaseProxyObject, aid), READONLY,
     "The actor's id, unique to one life."},
    {"name", T_OBJECT_EX, offsetof(BaseProxyObject, name), READONLY,
     "The actor's name."},
    {"number", T_ULONGLONG, offsetof(BaseProxyObject, number), READONLY,
     "The actor's number in envelopes."},
    {"_away", T_BOOL, offsetof(BaseProxyObject, away), 0,
     "Whether its method _put takes what is sent to it."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef proxy_getset[] = {
    {"_ours", proxy_get_ours, NULL,
     "Whether this process made it, not one that it was forked from.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(proxy_doc, "BaseProxy(aid, name, number)\n--\n\n"
                        "What the core must know of an actor's reference.");

static PyType_Slot proxy_slots[] = {
    {Py_tp_doc, (void *)proxy_doc},   {Py_tp_init, proxy_init},
    {Py_tp_members, proxy_members},   {Py_tp_getset, proxy_getset},
    {Py_tp_traverse, proxy_traverse}, {Py_tp_clear, proxy_clear},
    {Py_tp_dealloc, proxy_dealloc},   {0, NULL},
};

static PyType_Spec proxy_spec = {
    .name = "pulsar_native._native.BaseProxy",
    .basicsize = sizeof(BaseProxyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = proxy_slots,
};

static PyObject *
new_generation(PyObject *module, PyObject *unused)
{
    (void)unused;
    pn_state *state = PyModule_GetState(module);
    PyObject *generation = PyList_New(0); /* an object like no other */
    if (generation == NULL)
        return NULL;
    Py_XSETREF(state->generation, generation);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"new_generation", new_generation, METH_NOARGS,
     PyDoc_STR("new_generation($module, /)\n--\n\n"
               "In a forked child: proxies made before are not ours.")},
    {NULL, NULL, 0, NULL},
};

bool
pn_proxy_is_away(const pn_state *state, PyObject *target)
{
    const BaseProxyObject *proxy = (const BaseProxyObject *)target;
    return PyObject_TypeCheck(target, (PyTypeObject *)state->proxy_type) &&
           proxy->away && proxy->generation == state->generation;
}

PyObject *
pn_proxy_put_aside(PyObject *cell, PyObject *const *args, bool tell)
{
    PyObject *target = Py_NewRef(args[0]);
    PyObject *future =
        PyObject_CallMethod(target, "_put", "OOOOO", cell, args[1], args[2],
                            args[3], tell ? Py_True : Py_False);
    Py_DECREF(target);
    return future;
}

int
pn_add_proxy(PyObject *module, pn_state *state)
{
    state->generation = PyList_New(0);
    state->proxy_type = PyType_FromModuleAndSpec(module, &proxy_spec, NULL);
    if (state->generation == NULL || state->proxy_type == NULL ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->proxy_type);
}
