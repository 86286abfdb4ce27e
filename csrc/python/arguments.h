/* Arguments of hot methods, without a tuple or a dict. */
#ifndef PN_PYTHON_ARGUMENTS_H
#define PN_PYTHON_ARGUMENTS_H

#include "python/state.h"

/* What a method takes: its name, for messages, and those of its parameters,
 * of which the first `required` must be given. */
typedef struct {
    const char *method;
    Py_ssize_t required;
    Py_ssize_t count;
    const char *const *names;
} pn_signature;

/* Sort the arguments of a METH_FASTCALL|METH_KEYWORDS call into
 * out[0..count), borrowed; NULL for those not given. 0, or -1 with TypeError
 * set. */
int pn_bind_arguments(const pn_signature *signature, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames, PyObject **out);

#endif
