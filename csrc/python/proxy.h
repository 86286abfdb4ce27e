/* The type BaseProxy: what the core must know of a reference to an actor. */
#ifndef PN_PYTHON_PROXY_H
#define PN_PYTHON_PROXY_H

#include "python/state.h"

typedef struct {
    PyObject_HEAD PyObject *aid;
    PyObject *name;
    PyObject *generation; /* state->generation when it was made */
    unsigned long long number;
} BaseProxyObject;

int pn_add_proxy(PyObject *module, pn_state *state);

#endif
