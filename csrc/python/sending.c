/* What callers of send give: targets and commands. */
#include "python/sending.h"

#include "python/command.h"
#include "python/future.h"
#include "python/proxy.h"
#include "python/serializer.h"

/* The number of a target, and for a name that is not known here 0 and that
 * name: call->name is a new reference, or NULL. */
static int
resolve(MailboxObject *self, PyObject *target, pn_sending *call)
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

/* The command of this name in the table, new reference, or NULL, perhaps with
 * an exception. */
static PyObject *
find(MailboxObject *self, PyObject *name)
{
    PyTypeObject *type = (PyTypeObject *)self->state->command_type;
    PyObject *found = PyDict_GetItemWithError(self->port.table, name);
    bool right = found != NULL && PyObject_TypeCheck(found, type);
    return right ? Py_NewRef(found) : NULL;
}

static PyObject *
module_of(PyObject *command)
{
    PyObject *module = PyObject_GetAttrString(command, "__module__");
    if (module == NULL)
        PyErr_Clear();
    return module;
}

/* A function of another module has taken the command's name: its target, in
 * another process, would run that one. 0, or -1 with an exception. */
static int
check_name_is_its_own(MailboxObject *self, const BaseCommandObject *command)
{
    PyObject *other = PyDict_GetItemWithError(self->port.table, command->name);
    if (other == NULL || other == (PyObject *)command || command->method)
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(other);
    PyObject *ours = module_of((PyObject *)command);
    PyObject *theirs = module_of(other);
    int same = ours == NULL || theirs == NULL
                   ? 1
                   : PyObject_RichCompareBool(ours, theirs, Py_EQ);
    if (same == 0)
        PyErr_Format(self->state->error,
                     "the name of command %R of %R was taken by that of %R: "
                     "give one another, by command(name=...)",
                     command->name, ours, theirs);
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    Py_DECREF(other);
    return same > 0 ? 0 : -1;
}

/* The command: its object in the table, if it is known here, and its name. */
static int
look_up(MailboxObject *self, PyObject *command, pn_sending *call)
{
    PyTypeObject *type = (PyTypeObject *)self->state->command_type;
    if (PyObject_TypeCheck(command, type)) {
        call->known = Py_NewRef(command);
        const BaseCommandObject *known = (BaseCommandObject *)command;
        if (known->name != NULL && check_name_is_its_own(self, known) < 0)
            return -1;
        command = known->wire != NULL ? known->wire : known->name;
    } else if (PyUnicode_Check(command)) {
        call->known = find(self, command);
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
    call->known = find(self, call->command);
    return PyErr_Occurred() ? -1 : 0;
}

/* What of the caller's context travels along. 0, or -1 with an exception. */
static int
pack_baggage(pn_state *state, pn_sending *call)
{
    if (state->dump_baggage == NULL)
        return 0;
    PyObject *dump = Py_NewRef(state->dump_baggage);
    PyObject *bytes = PyObject_CallNoArgs(dump);
    Py_DECREF(dump);
    if (bytes == NULL)
        return -1;
    if (PyBytes_CheckExact(bytes) &&
        PyBytes_GET_SIZE(bytes) <= PN_BAGGAGE_LIMIT) {
        call->baggage = bytes;
        return 0;
    }
    if (bytes != Py_None)
        PyErr_Format(PyExc_ValueError,
                     "context variables and trace take more than %d bytes",
                     PN_BAGGAGE_LIMIT);
    Py_DECREF(bytes);
    return PyErr_Occurred() ? -1 : 0;
}

static bool
is_iterator(PyObject *value)
{
    const PyAsyncMethods *async = Py_TYPE(value)->tp_as_async;
    return async != NULL && async->am_anext != NULL;
}

static bool
has_iterators(PyObject *args, PyObject *kwargs)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        if (is_iterator(PyTuple_GET_ITEM(args, i)))
            return true;
    }
    while (PyDict_Next(kwargs, &position, &key, &value)) {
        if (is_iterator(value))
            return true;
    }
    return false;
}

/* Asynchronous iterators stay here, and are lent: the target streams from
 * them. 0, or -1 with an exception. */
static int
lend_iterators(pn_sending *call)
{
    if (!has_iterators(call->args, call->kwargs))
        return 0;
    PyObject *lend = Py_NewRef(call->cell->mailbox->port.lend);
    call->lent = PyObject_CallFunctionObjArgs(lend, (PyObject *)call->cell,
                                              call->args, call->kwargs, NULL);
    Py_DECREF(lend);
    PyObject *release;
    if (call->lent != NULL && !PyTuple_Check(call->lent))
        PyErr_SetString(PyExc_TypeError, "port.lend gives no tuple");
    else if (call->lent != NULL &&
             PyArg_ParseTuple(call->lent, "O!O!O", &PyTuple_Type, &call->args,
                              &PyDict_Type, &call->kwargs, &release))
        return 0;
    return -1;
}

int
pn_sending_end_by(const pn_sending *call, PyObject *future)
{
    if (call->lent == NULL)
        return 0;
    PyObject *release = PyTuple_GET_ITEM(call->lent, 2);
    PyObject *done =
        PyObject_CallMethod(future, "add_done_callback", "O", release);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *
pn_sending_told(const pn_sending *call, PyObject *asked)
{
    MailboxObject *self = call->cell->mailbox;
    PyObject *release = PyTuple_GET_ITEM(call->lent, 2);
    int done = pn_future_is_done(self->state, asked);
    if (done == 1)
        return asked; /* it could not be sent */
    PyObject *told = NULL;
    if (done == 0 && PyObject_SetAttrString(release, "told", Py_True) == 0)
        told = pn_mailbox_new_future(self);
    if (told != NULL)
        pn_mailbox_resolve(self, told, false, Py_None);
    Py_DECREF(asked);
    return told;
}

int
pn_sending_begin(pn_sending *call, CellObject *cell, PyObject *const *args)
{
    MailboxObject *self = cell->mailbox;
    *call = (pn_sending){.cell = cell, .args = args[2], .kwargs = args[3]};
    if (!PyTuple_Check(args[2]) || !PyDict_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError,
                        "arguments are a tuple and a dict of keywords");
        return -1;
    }
    if (pn_mailbox_check(self) < 0)
        return -1;
    if (cell->gone) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the coroutine actor that sends has ended");
        return -1;
    }
    if (pn_scope_read(self->state, &call->scope) == 0 &&
        pack_baggage(self->state, call) == 0 &&
        resolve(self, args[0], call) == 0 &&
        look_up(self, args[1], call) == 0 && lend_iterators(call) == 0)
        return 0;
    pn_sending_end(call);
    return -1;
}

int
pn_sending_serialize(pn_sending *call)
{
    PyObject *serializer =
        call->known == NULL ? NULL : pn_serializer_of(call->known);
    if (serializer == NULL)
        return 0;
    call->serializer = Py_NewRef(serializer);
    call->dumped_args = Py_NewRef(call->args);
    call->dumped_kwargs = Py_NewRef(call->kwargs);
    if (pn_serializer_dump_all(serializer, &call->dumped_args,
                               &call->dumped_kwargs) < 0)
        return -1;
    call->args = call->dumped_args;
    call->kwargs = call->dumped_kwargs;
    return 0;
}

void
pn_sending_end(pn_sending *call)
{
    Py_CLEAR(call->scope.held);
    Py_CLEAR(call->baggage);
    Py_CLEAR(call->name);
    Py_CLEAR(call->command);
    Py_CLEAR(call->known);
    Py_CLEAR(call->lent);
    Py_CLEAR(call->serializer);
    Py_CLEAR(call->dumped_args);
    Py_CLEAR(call->dumped_kwargs);
}
