/* The type BaseCommand: a command as the core sees it. */
#ifndef PN_PYTHON_COMMAND_H
#define PN_PYTHON_COMMAND_H

#include "python/state.h"

typedef struct {
    PyObject_HEAD PyObject *name; /* str */
    PyObject *function;           /* callable; NULL while being unpickled */
    char ack;
    char method; /* called with the actor's instance, not a request */
    unsigned long long serial;
} BaseCommandObject;

int pn_add_command(PyObject *module, pn_state *state);

#endif
