/* BaseCommand: what the core must know of a command. pulsar_native.commands
 * derives the public type from it. */
#include "python/command.h"

#include <structmember.h>

static int
command_traverse(PyObject *op, visitproc visit, void *arg)
{
    BaseCommandObject *self = (BaseCommandObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->name);
    Py_VISIT(self->wire);
    Py_VISIT(self->function);
    Py_VISIT(self->serializer);
    return 0;
}

static int
command_clear(PyObject *op)
{
    BaseCommandObject *self = (BaseCommandObject *)op;
    Py_CLEAR(self->name);
    Py_CLEAR(self->wire);
    Py_CLEAR(self->function);
    Py_CLEAR(self->serializer);
    return 0;
}

static void
command_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)command_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMemberDef command_members[] = {
    {"name", T_OBJECT_EX, offsetof(BaseCommandObject, name), 0,
     "The name under which it is sent, in lower case."},
    {"wire", T_OBJECT, offsetof(BaseCommandObject, wire), 0,
     "What travels: '.' for a method or ':' for a function, and the name."},
    {"function", T_OBJECT_EX, offsetof(BaseCommandObject, function), 0,
     "The function, called as function(request, *args, **kwargs)."},
    {"serializer", T_OBJECT, offsetof(BaseCommandObject, serializer), 0,
     "What dumps its arguments and its result, in place of pickle, or None."},
    {"ack", T_BOOL, offsetof(BaseCommandObject, ack), 0,
     "Whether the sender gets a reply."},
    {"kill", T_BOOL, offsetof(BaseCommandObject, kill), 0,
     "Whether it costs its process when it is past its deadline."},
    {"method", T_BOOL, offsetof(BaseCommandObject, method), 0,
     "Whether the function is called as function(instance, ...), where "
     "instance is the actor's own object."},
    {"serial", T_ULONGLONG, offsetof(BaseCommandObject, serial), 0,
     "Counts registrations in this process; 0 is known everywhere."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(command_doc, "What the core must know of a command.");

static PyType_Slot command_slots[] = {
    {Py_tp_doc, (void *)command_doc},   {Py_tp_members, command_members},
    {Py_tp_traverse, command_traverse}, {Py_tp_clear, command_clear},
    {Py_tp_dealloc, command_dealloc},   {0, NULL},
};

static PyType_Spec command_spec = {
    .name = "pulsar_native._native.BaseCommand",
    .basicsize = sizeof(BaseCommandObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = command_slots,
};

int
pn_add_command(PyObject *module, pn_state *state)
{
    state->command_type =
        PyType_FromModuleAndSpec(module, &command_spec, NULL);
    if (state->command_type == NULL)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->command_type);
}
