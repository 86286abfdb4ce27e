/* Values of Python as payloads of the engine, and back. */
#ifndef PN_PYTHON_PAYLOAD_H
#define PN_PYTHON_PAYLOAD_H

#include "base/ref.h"
#include "python/state.h"

/* Pickle value: plain values (exact built-in scalars and small containers of
 * them, which hold no function or class) straight by pickle.dumps, others by
 * dumps, which decides what goes by value. 0, or -1 with an exception. */
int pn_payload_dump(pn_state *state, PyObject *dumps, PyObject *value,
                    pn_ref *out);

/* The first half of that: *out stays empty if the value is not plain. 0, or -1
 * with an exception. */
int pn_payload_dump_plain(pn_state *state, PyObject *value, pn_ref *out);

/* A payload that is this bytes object; takes a reference of its own. 0, or -1
 * with TypeError if it is not exactly bytes: giving back an instance of a
 * subclass could run anybody's code in the midst of a link. */
int pn_payload_of(PyObject *bytes, pn_ref *out);

/* Unpickle. The bytes are only read during the call: what loads was given of
 * them is released after it, and BufferError raised where that cannot be. New
 * reference or NULL. */
PyObject *pn_payload_load(pn_state *state, PyObject *loads,
                          const uint8_t *bytes, size_t size);

/* The same with a tuple of out-of-band buffers, or NULL. */
PyObject *pn_payload_load_with(pn_state *state, PyObject *loads,
                               const uint8_t *bytes, size_t size,
                               PyObject *buffers);

#endif
