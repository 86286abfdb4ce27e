/* The type Memory: writable memory of a message, owned by whoever looks at
 * it. It came with a payload: a block of the engine's, or a segment that the
 * sender gets back. A Memory holds such a payload, or is a part of another
 * Memory, which it keeps; the last one releases the payload, on whatever
 * thread that is. NumPy arrays and memoryviews that arrive lie in these. */
#ifndef PN_PYTHON_MEMORY_H
#define PN_PYTHON_MEMORY_H

#include "base/ref.h"
#include "python/state.h"

int pn_add_memory(PyObject *module, pn_state *state);

/* All of ref, which is taken over, whatever the result: its bytes are
 * writable and may be released on any thread. New reference or NULL. */
PyObject *pn_memory_new(pn_state *state, pn_ref *ref);

/* size bytes of a Memory from offset on, which do lie in it. New reference or
 * NULL. */
PyObject *pn_memory_part(pn_state *state, PyObject *whole, size_t offset,
                         size_t size);

#endif
