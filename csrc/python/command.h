/* The type BaseCommand: a command as the core sees it.
 *
 * What travels is its name; before it stands a mark if the sender named the
 * command by its object, so that a method is never taken for a function of the
 * same name, nor the other way round. Without a mark the methods of the
 * actor's own object come first. */
#ifndef PN_PYTHON_COMMAND_H
#define PN_PYTHON_COMMAND_H

#include "python/state.h"

typedef struct {
    PyObject_HEAD PyObject *name; /* str */
    PyObject *wire;               /* str: mark and name; NULL: the name */
    PyObject *function;           /* callable; NULL while being unpickled */
    PyObject *serializer;         /* see serializer.h; NULL or None: none */
    char ack;
    char kill;   /* past its deadline it costs its process */
    char method; /* called with the actor's instance, not a request */
    unsigned long long serial;
} BaseCommandObject;

#define PN_MARK_METHOD '.'
#define PN_MARK_FUNCTION ':'

int pn_add_command(PyObject *module, pn_state *state);

#endif
