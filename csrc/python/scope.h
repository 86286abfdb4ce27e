/* The type Scope, and the context variable `scope`, which says what an ask
 * inherits: None, a Scope (a deadline that the program set), or the Request of
 * the running command. */
#ifndef PN_PYTHON_SCOPE_H
#define PN_PYTHON_SCOPE_H

#include "python/request.h"

/* Borrowed from the scope object, which `held` keeps alive. */
typedef struct {
    PyObject *held;         /* strong, or NULL */
    int64_t deadline;       /* monotonic ns, or 0 */
    bool kill;              /* past it a plain function costs its process */
    bool chosen;            /* the program said so, be it none */
    RequestObject *request; /* or NULL */
} pn_scope;

int pn_add_scope(PyObject *module, pn_state *state);

/* Read the scope of the current context; *out->held is to be dropped. 0, or -1
 * with an exception. */
int pn_scope_read(pn_state *state, pn_scope *out);

#endif
