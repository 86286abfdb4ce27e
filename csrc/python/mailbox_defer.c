#include "python/mailbox_defer.h"

#include "python/mailbox_flight.h"
#include "python/mailbox_fuse.h"

PyObject *
pn_mailbox_defer(RequestObject *request, const BaseCommandObject *command,
                 PyObject *first, PyObject *args, PyObject *kwargs)
{
    PyObject *defer = Py_NewRef(request->cell->mailbox->port.defer);
    PyObject *result = PyObject_CallFunctionObjArgs(
        defer, (PyObject *)request, (PyObject *)command, first, args,
        kwargs == NULL ? Py_None : kwargs, NULL);
    Py_DECREF(defer);
    return result;
}

static PyObject *
call(PyObject *function, PyObject *first, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    PyObject *all = PyTuple_New(count + 1);
    if (all == NULL)
        return NULL;
    PyTuple_SET_ITEM(all, 0, Py_NewRef(first));
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    PyObject *result =
        PyObject_Call(function, all, kwargs == Py_None ? NULL : kwargs);
    Py_DECREF(all);
    return result;
}

/* What a flight recorder says of it; without a name if that cannot be read. */
static bool
begin_flight(CellObject *cell, const BaseCommandObject *command)
{
    pn_envelope env = {.command = ""};
    Py_ssize_t size = 0;
    const char *name = command->name == NULL
                           ? NULL
                           : PyUnicode_AsUTF8AndSize(command->name, &size);
    if (name == NULL)
        PyErr_Clear();
    else
        env.command = name;
    env.command_size = size < PN_TEXT_LIMIT ? (uint16_t)size : PN_TEXT_LIMIT;
    return pn_flight_begin(cell, &env, pn_clock_now());
}

PyObject *
pn_request_call(PyObject *op, PyObject *args)
{
    RequestObject *self = (RequestObject *)op;
    PyObject *command, *first, *positional, *kwargs, *result = NULL;
    if (self->cell == NULL)
        return pn_mailbox_unusable();
    PyTypeObject *type =
        (PyTypeObject *)self->cell->mailbox->state->command_type;
    if (!PyArg_ParseTuple(args, "O!OO!O:_call", type, &command, &first,
                          &PyTuple_Type, &positional, &kwargs))
        return NULL;
    const BaseCommandObject *known = (BaseCommandObject *)command;
    if (known->function == NULL) {
        PyErr_SetString(PyExc_TypeError, "the command has no function");
        return NULL;
    }
    PyObject *function = Py_NewRef(known->function);
    bool told = begin_flight(self->cell, known);
    if (pn_fuse_begin(self, known) == 0)
        result = call(function, first, positional, kwargs);
    pn_fuse_end(self);
    pn_flight_end(self->cell->mailbox, told);
    Py_DECREF(function);
    return result;
}
