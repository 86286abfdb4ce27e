/* What callers of send give: targets and commands. */
#include "python/sending.h"

#include "python/command.h"
#include "python/proxy.h"

/* The number of a target, and for a name that is not known here 0 and that
 * name: call->name is a new reference, or NULL. */
int
pn_sending_resolve(MailboxObject *self, PyObject *target, pn_sending *call)
{
    PyTypeObject *proxy_type = (PyTypeObject *)self->state->proxy_type;
    if (PyObject_TypeCheck(target, proxy_type) &&
        ((BaseProxyObject *)target)->generation == self->state->generation) {
        call->target = ((BaseProxyObject *)target)->number;
        return 0;
    }
    PyObject *resolve = Py_NewRef(self->port.resolve);
    PyObject *found = PyObject_CallOneArg(resolve, target);
    Py_DECREF(resolve);
    if (found == NULL)
        return -1;
    PyObject *name = NULL;
    unsigned long long number = 0;
    int ok = PyArg_ParseTuple(found, "KO;a target", &number, &name);
    if (ok && name != Py_None)
        call->name = Py_NewRef(name);
    call->target = number;
    Py_DECREF(found);
    return ok ? 0 : -1;
}

/* The command: its object in the table, if it is known here, and its name. */
int
pn_sending_look_up(MailboxObject *self, PyObject *command, pn_sending *call)
{
    PyTypeObject *type = (PyTypeObject *)self->state->command_type;
    if (PyObject_TypeCheck(command, type)) {
        call->known = Py_NewRef(command);
        const BaseCommandObject *known = (BaseCommandObject *)command;
        command = known->wire != NULL ? known->wire : known->name;
    } else if (PyUnicode_Check(command)) {
        call->known = PyDict_GetItemWithError(self->port.table, command);
        Py_XINCREF(call->known);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "a command is a name or a Command, not "
                     "%s",
                     Py_TYPE(command)->tp_name);
    }
    if (command == NULL)
        PyErr_SetString(PyExc_TypeError, "the command has no name");
    if (PyErr_Occurred())
        return -1;
    if (call->known != NULL) {
        call->command = Py_NewRef(command);
        return 0;
    }
    call->command = PyObject_CallMethodNoArgs(command, self->state->lower);
    if (call->command == NULL)
        return -1;
    call->known = PyDict_GetItemWithError(self->port.table, call->command);
    Py_XINCREF(call->known);
    return PyErr_Occurred() ? -1 : 0;
}
