/* A command's own serializer, in place of pickle: an object with
 * dumps(value) -> bytes and loads(bytes) -> value. Each argument, and the
 * result, is dumped by itself; the message carries these bytes where it would
 * carry the values, and says so (pn_extension.encoding). */
#ifndef PN_PYTHON_SERIALIZER_H
#define PN_PYTHON_SERIALIZER_H

#include "python/state.h"

/* What an extension's encoding says then. */
#define PN_SERIALIZED 1

/* The serializer of a BaseCommand, borrowed, or NULL: it has none. */
PyObject *pn_serializer_of(PyObject *command);

/* The same for what has come serialized; a command whose module is not
 * imported yet is now. New reference, or NULL with an exception. */
PyObject *pn_serializer_needed(PyObject *command);

/* The bytes of a value; TypeError if dumps gave something else. New reference
 * or NULL. */
PyObject *pn_serializer_dump(PyObject *serializer, PyObject *value);

/* The value of what dump gave; TypeError if that is not bytes. New reference
 * or NULL. */
PyObject *pn_serializer_load(PyObject *serializer, PyObject *bytes);

/* Dump or load each item of a tuple and each value of a dict, which may be
 * NULL: both are replaced, on success, by new references to new ones, and the
 * references to the old ones dropped. 0, or -1 with an exception. */
int pn_serializer_dump_all(PyObject *serializer, PyObject **args,
                           PyObject **kwargs);
int pn_serializer_load_all(PyObject *serializer, PyObject **args,
                           PyObject **kwargs);

#endif
