/* The memory of a bytes-like argument; bytes, the usual case, without the
 * cost of the buffer protocol. */
#ifndef PN_PYTHON_VIEW_H
#define PN_PYTHON_VIEW_H

#include "python/state.h"

#include <stdbool.h>
#include <stdint.h>

/* Open, data[0..len) does not move and object is borrowed. */
typedef struct {
    PyObject *object;
    const uint8_t *data;
    size_t len;
    bool viewed; /* by the buffer protocol */
    Py_buffer view;
} pn_view;

/* Open any contiguous buffer. 0, or -1 with TypeError or BufferError set.
 * Where object is not bytes this may run Python code. */
static inline int
pn_view_open(pn_view *out, PyObject *object)
{
    out->object = object;
    out->viewed = !PyBytes_CheckExact(object);
    if (!out->viewed) {
        out->data = (const uint8_t *)PyBytes_AS_STRING(object);
        out->len = (size_t)PyBytes_GET_SIZE(object);
        return 0;
    }
    if (PyObject_GetBuffer(object, &out->view, PyBUF_SIMPLE) < 0)
        return -1;
    out->data = (const uint8_t *)out->view.buf;
    out->len = (size_t)out->view.len;
    return 0;
}

/* May run Python code, too. */
static inline void
pn_view_close(pn_view *view)
{
    if (view->viewed)
        PyBuffer_Release(&view->view);
}

#endif
