/* Tells that reach nobody: counted, and told to those who watch. */
#include "python/cell.h"

/* The condition that an asker would have got. New reference or NULL. */
static PyObject *
explain(MailboxObject *self, uint64_t target, PyObject *name)
{
    PyObject *answer = pn_mailbox_explain(self, target, name);
    PyObject *condition = NULL;
    PyObject *payload;
    if (answer != NULL && PyArg_ParseTuple(answer, "UO", &condition, &payload))
        Py_INCREF(condition);
    Py_XDECREF(answer);
    return condition;
}

static PyObject *
tell_watch(MailboxObject *self, PyObject *watch, const pn_envelope *env,
           const char *reason)
{
    /* All that env points to is read before Python runs. */
    uint64_t target = env->target;
    PyObject *why = NULL, *result = NULL;
    PyObject *command = pn_mailbox_command_name(env);
    PyObject *name = pn_mailbox_text(env->name, env->name_size);
    if (command != NULL && name != NULL)
        why = reason != NULL ? PyUnicode_FromString(reason)
                             : explain(self, target, name);
    if (why != NULL)
        result = PyObject_CallFunction(
            watch, "KOOO", (unsigned long long)target, name, command, why);
    Py_XDECREF(why);
    Py_XDECREF(name);
    Py_XDECREF(command);
    return result;
}

void
pn_mailbox_lose_tell(CellObject *cell, const pn_envelope *env,
                     const char *reason)
{
    cell->dead_letters++;
    MailboxObject *self = cell->mailbox;
    PyObject *watch = self->on_dead_letter;
    if (watch == NULL || watch == Py_None || PyErr_Occurred())
        return;
    Py_INCREF(self);
    Py_INCREF(watch);
    PyObject *result = tell_watch(self, watch, env, reason);
    if (result == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(result);
    Py_DECREF(watch);
    Py_DECREF(self);
}
