/* The type BaseProxy: what the core must know of a reference to an actor. */
#ifndef PN_PYTHON_PROXY_H
#define PN_PYTHON_PROXY_H

#include "python/state.h"

#include <stdbool.h>

typedef struct {
    PyObject_HEAD PyObject *aid;
    PyObject *name;
    PyObject *generation; /* state->generation when it was made */
    unsigned long long number;
    char away; /* a role without an actor: its _put takes what is sent */
} BaseProxyObject;

/* Whether that is the proxy of a role that has no actor now. */
bool pn_proxy_is_away(const pn_state *state, PyObject *target);

/* What a cell sends to such a one, as (target, command, args, kwargs): the
 * role keeps it. The future, or NULL with an exception. */
PyObject *pn_proxy_put_aside(PyObject *cell, PyObject *const *args, bool tell);

int pn_add_proxy(PyObject *module, pn_state *state);

#endif
