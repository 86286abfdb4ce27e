#include "python/letter.h"

#include "base/alloc.h"

#include <stddef.h>
#include <string.h>

/* Deeper or longer tuples are pickled. */
#define SHARED_DEPTH 4
#define SHARED_ITEMS 64

/* Bytes that a shared value holds on to, roughly. */
static size_t
weigh(PyObject *value)
{
    size_t weight = 0;
    if (PyUnicode_Check(value))
        return (size_t)PyUnicode_GET_LENGTH(value);
    if (PyBytes_Check(value))
        return (size_t)PyBytes_GET_SIZE(value);
    if (!PyTuple_Check(value))
        return sizeof(PyObject);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); i++)
        weight += weigh(PyTuple_GET_ITEM(value, i));
    return weight;
}

pn_letter *
pn_letter_new(const pn_envelope *env, pn_ref *payload, PyObject *value,
              PyObject *known)
{
    size_t command = env->command_size, name = env->name_size;
    size_t texts = command + name + env->extension_size;
    pn_letter *letter = pn_alloc(sizeof *letter + texts);
    if (letter == NULL)
        return NULL;
    *letter = (pn_letter){
        .env = *env,
        .payload = *payload,
        .value = Py_XNewRef(value),
        .weight = value == NULL ? payload->size : weigh(value),
        .known = Py_XNewRef(known),
    };
    *payload = (pn_ref){0};
    char *at = letter->texts;
    if (command > 0)
        memcpy(at, env->command, command);
    if (name > 0)
        memcpy(at + command, env->name, name);
    if (env->extension_size > 0)
        memcpy(at + command + name, env->extension, env->extension_size);
    letter->env.command = at;
    letter->env.name = at + command;
    letter->env.extension = (const uint8_t *)at + command + name;
    letter->env.size = letter->payload.size;
    letter->env.offset = 0;
    return letter;
}

void
pn_letter_free(pn_letter *letter)
{
    PyObject *value = letter->value, *known = letter->known;
    pn_ref payload = letter->payload;
    pn_free(letter);
    pn_ref_release(&payload);
    Py_XDECREF(value);
    Py_XDECREF(known);
}

pn_letter *
pn_letter_of_entry(pn_waiting_entry *entry)
{
    return (pn_letter *)((char *)entry - offsetof(pn_letter, entry));
}

pn_letter *
pn_letter_of_parked(pn_parked *entry)
{
    return (pn_letter *)((char *)entry - offsetof(pn_letter, parked));
}

static bool
may_share(PyObject *value, int depth)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type || type == &PyUnicode_Type ||
        type == &PyFloat_Type || type == &PyBytes_Type ||
        type == &PyBool_Type || value == Py_None)
        return true;
    if (depth == 0 || !PyTuple_CheckExact(value))
        return false;
    Py_ssize_t count = PyTuple_GET_SIZE(value);
    if (count > SHARED_ITEMS)
        return false;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!may_share(PyTuple_GET_ITEM(value, i), depth - 1))
            return false;
    }
    return true;
}

bool
pn_letter_may_share(PyObject *value)
{
    return may_share(value, SHARED_DEPTH);
}

size_t
pn_letter_weigh(PyObject *value)
{
    if (PyBytes_CheckExact(value))
        return (size_t)PyBytes_GET_SIZE(value);
    if (PyUnicode_CheckExact(value))
        return (size_t)PyUnicode_GET_LENGTH(value) *
               (size_t)PyUnicode_KIND(value);
    if (!PyTuple_CheckExact(value))
        return sizeof(PyObject *);
    size_t size = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); i++)
        size += pn_letter_weigh(PyTuple_GET_ITEM(value, i));
    return size;
}
