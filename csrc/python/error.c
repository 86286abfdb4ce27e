#include "python/error.h"

#include "base/status.h"

#include <errno.h>
#include <stdbool.h>

PyObject *
pn_raise_status(pn_state *state, int status)
{
    if (status == PN_ENOMEM)
        return PyErr_NoMemory();
    if (status < 0 && status > PN_ENOMEM) {
        errno = -status;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    bool protocol =
        status == PN_EPROTO || status == PN_ETOOBIG || status == PN_EUTF8;
    PyErr_SetString(protocol ? state->protocol_error : state->error,
                    pn_status_text(status));
    return NULL;
}
