/* A parcel: a value as a payload whose large memory lies beside its pickle.
 *
 * A payload is a pickle and, behind it, the buffers that pickle protocol 5
 * left out of band (those of NumPy's arrays, say). Each of these parts is
 * filled up with zeros to a multiple of PN_ALIGNMENT, so the sizes of the
 * buffers, which the envelope's extension tells, tell where they lie. Without
 * buffers a payload is the pickle alone, or a plain value. */
#ifndef PN_PYTHON_PARCEL_H
#define PN_PYTHON_PARCEL_H

#include "base/ref.h"
#include "mailbox/extension.h"
#include "python/state.h"

/* On its way out. Its buffers are still the user's: they are copied when the
 * message is put on its way, and may change after that. */
typedef struct pn_parcel {
    pn_ref pickle;
    Py_buffer *buffers; /* count of them, each open; NULL if there are none */
    size_t count;
    size_t size; /* bytes that it takes in a message */
} pn_parcel;

/* Room for the sizes of the buffers, as an extension tells them. */
typedef struct {
    uint8_t bytes[PN_BUFFERS_LIMIT * sizeof(uint64_t)];
} pn_parcel_sizes;

/* For module.c's table: adds dump_parcel and load_parcel. 0, or -1 with an
 * exception set. */
int pn_add_parcel(PyObject *module, pn_state *state);

/* Pickle value: plain values as pn_payload_dump does, others by
 * dumps(value, list), which puts into the list what goes out of band. 0, or -1
 * with an exception and nothing to drop. */
int pn_parcel_dump(pn_state *state, PyObject *dumps, PyObject *value,
                   pn_parcel *out);

/* Let go of what it holds; may run Python code, keeps an exception that is
 * set. Twice is once. */
void pn_parcel_drop(pn_parcel *parcel);

/* Tell the sizes of its buffers in ext, which points into sizes then. */
void pn_parcel_tell(const pn_parcel *parcel, pn_parcel_sizes *sizes,
                    pn_extension *ext);

/* Copy it, as it is now, to where there is room for parcel->size bytes. */
void pn_parcel_copy(const pn_parcel *parcel, uint8_t *to);

/* Its bytes, as they are now: the pickle itself, or a copy of all in one
 * block. The parcel is of no use after that, but to drop. PN_OK or
 * PN_ENOMEM. */
int pn_parcel_pack(pn_parcel *parcel, pn_ref *out);

/* The value of a payload whose extension is ext. The buffers that loads asks
 * for lie in the memory of ref, if that holds the bytes (a block or a segment:
 * writable), else in a copy. Takes ref over, whatever the result. ValueError
 * if the buffers cannot lie in the payload. New reference or NULL. */
PyObject *pn_parcel_load(pn_state *state, PyObject *loads,
                         const uint8_t *bytes, size_t size, pn_ref *ref,
                         const pn_extension *ext);

#endif
