/* FrameParser: both directions of a WebSocket's frames, as a Python type.
 * framedecode.c decodes, frameencode.c encodes. Used by one thread at a
 * time, as the GIL sees to. */
#ifndef PN_PYTHON_FRAMEPARSER_H
#define PN_PYTHON_FRAMEPARSER_H

#include "python/state.h"
#include "sys/entropy.h"
#include "ws/reader.h"

/* Invariants:
 *   - body is set while the reader fills it, in states BODY and FAILED only:
 *     bytes, or for text a str of as many bytes, whose storage holds UTF-8
 *     until it is known to be ASCII or replaced. Python never sees it so;
 *   - chunk is the input not yet read, bytes from chunk_at on, or NULL;
 *   - carry[0..carry_size) is the start of a character that the str of a
 *     text fragment could not hold: it goes before the next fragment's body.
 */
typedef struct {
    PyObject_HEAD pn_reader reader;
    PyObject *body;
    PyObject *chunk;
    size_t chunk_at;
    PyObject *frame_type;
    PyObject *entropy_capsule; /* owns entropy */
    pn_entropy *entropy;
    PyObject *extensions;
    PyObject *protocols;
    int version;
    int kind;
    int decode_mask_length;
    int encode_mask_length;
    uint8_t carry_size;
    uint8_t carry[3];
} FrameParserObject;

/* Raise ProtocolError with this text and, if it is not 0, status_code; always
 * NULL. Takes over the reference to text, which may be NULL with an exception
 * set; frames (NULL for none) becomes an attribute. */
PyObject *pn_raise_protocol_error(PyTypeObject *type, PyObject *text,
                                  int status_code, PyObject *frames);

/* The reader's pn_reader_room; context is the parser. */
uint8_t *pn_frameparser_room(void *context, const pn_frame *frame);

/* The methods that decode: METH_FASTCALL and METH_O. */
extern const char pn_decode_doc[], pn_decode_all_doc[];
PyObject *pn_frameparser_decode(PyObject *op, PyObject *const *args,
                                Py_ssize_t nargs);
PyObject *pn_frameparser_decode_all(PyObject *op, PyObject *data);

/* The methods that encode, for METH_FASTCALL|METH_KEYWORDS, and their
 * docstrings. */
#define PN_ENCODER(name)                                                      \
    extern const char pn_##name##_doc[];                                      \
    PyObject *pn_frameparser_##name(PyObject *op, PyObject *const *args,      \
                                    Py_ssize_t nargs, PyObject *kwnames)
PN_ENCODER(encode);
PN_ENCODER(encode_parts);
PN_ENCODER(continuation);
PN_ENCODER(ping);
PN_ENCODER(pong);
PN_ENCODER(close);
#undef PN_ENCODER

/* For module.c's table: the type. 0, or -1 with an exception set. */
int pn_add_frameparser(PyObject *module, pn_state *state);

#endif
