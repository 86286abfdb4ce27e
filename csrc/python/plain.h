/* Small plain values in an encoding of our own: a pickler and an unpickler
 * made for each message cost more than what they write. Only what is immutable
 * goes this way: None, bool, int of 64 bits, float, short str and bytes, flat
 * and nested tuples of them; and, for arguments with keywords, the outermost
 * list of a tuple and a dict with str keys. docs/protocol.md has the layout.
 * Everything else is left to pickle, whose first byte no value here has. */
#ifndef PN_PYTHON_PLAIN_H
#define PN_PYTHON_PLAIN_H

#include "python/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No value takes more bytes than this. */
#define PN_PLAIN_SIZE 256

/* Write value to out. Returns its size, or 0 if it is not plain or too long:
 * nothing is raised, no code of anybody runs. */
size_t pn_plain_dump(PyObject *value, uint8_t out[PN_PLAIN_SIZE]);

/* Whether a payload was written by pn_plain_dump, not by pickle. */
static inline bool
pn_plain_is(const uint8_t *bytes, size_t size)
{
    return size > 0 && bytes[0] < 0x80;
}

/* The value; NULL with ValueError if the bytes are no whole value, or without
 * memory. */
PyObject *pn_plain_load(const uint8_t *bytes, size_t size);

/* For module.c's table: adds dump_plain and load_plain, for tests and for who
 * measures. 0, or -1 with an exception set. */
int pn_add_plain(PyObject *module, pn_state *state);

#endif
