#include "base/status.h"
#include "python/arguments.h"
#include "python/error.h"
#include "python/frameparser.h"
#include "python/view.h"
#include "python/websocket.h"
#include "ws/mask.h"

#include <string.h>

/* The bytes of what is to be sent; data lives until close_payload. */
typedef struct {
    const uint8_t *data;
    size_t len;
    PyObject *owner; /* a new object that holds data, or NULL */
    bool viewed;
    Py_buffer view;
} payload;

static int
own_payload(payload *out, PyObject *bytes)
{
    if (bytes == NULL)
        return -1;
    out->owner = bytes;
    out->data = (const uint8_t *)PyBytes_AS_STRING(bytes);
    out->len = (size_t)PyBytes_GET_SIZE(bytes);
    return 0;
}

static int
open_buffer(payload *out, PyObject *object)
{
    if (!PyObject_CheckBuffer(object)) {
        PyErr_Format(PyExc_TypeError,
                     "a message is str, a bytes-like object or None, not %s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    if (PyObject_GetBuffer(object, &out->view, PyBUF_SIMPLE) == 0) {
        out->viewed = true;
        out->data = out->view.buf;
        out->len = (size_t)out->view.len;
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_BufferError))
        return -1;
    PyErr_Clear(); /* not contiguous: take a copy that is */
    return own_payload(out, PyBytes_FromObject(object));
}

static int
open_payload(payload *out, PyObject *message)
{
    out->owner = NULL;
    out->viewed = false;
    if (message == NULL || message == Py_None) {
        out->data = NULL;
        out->len = 0;
        return 0;
    }
    if (PyBytes_Check(message)) {
        out->data = (const uint8_t *)PyBytes_AS_STRING(message);
        out->len = (size_t)PyBytes_GET_SIZE(message);
        return 0;
    }
    if (!PyUnicode_Check(message))
        return open_buffer(out, message);
    if (!PyUnicode_IS_COMPACT_ASCII(message))
        return own_payload(out, PyUnicode_AsUTF8String(message));
    out->data = PyUnicode_1BYTE_DATA(message);
    out->len = (size_t)PyUnicode_GET_LENGTH(message);
    return 0;
}

static void
close_payload(payload *out)
{
    Py_XDECREF(out->owner);
    if (out->viewed)
        PyBuffer_Release(&out->view);
}

static int
copy_key(uint8_t key[4], PyObject *given)
{
    pn_view view;
    if (pn_view_open(&view, given) < 0)
        return -1;
    bool right = view.len == 4;
    if (right)
        memcpy(key, view.data, 4);
    pn_view_close(&view);
    if (!right)
        PyErr_SetString(PyExc_AssertionError, "masking_key must have 4 bytes");
    return right ? 0 : -1;
}

/* Complete the header: mask and key. given is NULL or None for a random
 * key; parsers that do not mask ignore it. */
static int
choose_key(FrameParserObject *self, pn_frame *header, PyObject *given)
{
    header->masked = self->encode_mask_length > 0;
    if (!header->masked)
        return 0;
    if (given != NULL && given != Py_None)
        return copy_key(header->key, given);
    int err = pn_entropy_take(self->entropy, header->key, 4);
    if (err == PN_OK)
        return 0;
    pn_state *state = pn_state_of(Py_TYPE(self));
    if (state != NULL)
        (void)pn_raise_status(state, err);
    return -1;
}

/* ProtocolError if the header breaks a rule. */
static int
check_header(FrameParserObject *self, const pn_frame *header)
{
    PyObject *text;
    if (pn_frame_check(header) == PN_OK)
        return 0;
    if (!pn_frame_opcode_is_known(header->opcode))
        text = PyUnicode_FromFormat("opcode %d is not one of RFC 6455",
                                    header->opcode);
    else if (!header->final)
        text = PyUnicode_FromString("control frames cannot be fragmented");
    else
        text = PyUnicode_FromFormat(
            "control frames carry at most 125 bytes, not %llu",
            (unsigned long long)header->length);
    (void)pn_raise_protocol_error(Py_TYPE(self), text, 0, NULL);
    return -1;
}

/* Header and payload as one bytes object. */
static PyObject *
join_frame(const pn_frame *header, const payload *body)
{
    uint8_t head[PN_FRAME_HEADER_MAX];
    size_t size = pn_frame_encode_header(head, header);
    PyObject *bytes =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size + body->len));
    if (bytes == NULL)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(bytes);
    memcpy(to, head, size);
    if (header->masked)
        pn_mask_copy(to + size, body->data, body->len, header->key, 0);
    else if (body->len > 0)
        memcpy(to + size, body->data, body->len);
    return bytes;
}

/* The payload alone, as it goes on the wire; not copied where it need not. */
static PyObject *
part_payload(const pn_frame *header, const payload *body, PyObject *message)
{
    if (header->masked || body->len == 0) {
        PyObject *bytes =
            PyBytes_FromStringAndSize(NULL, (Py_ssize_t)body->len);
        if (bytes != NULL && body->len > 0)
            pn_mask_copy((uint8_t *)PyBytes_AS_STRING(bytes), body->data,
                         body->len, header->key, 0);
        return bytes;
    }
    if (body->owner != NULL)
        return Py_NewRef(body->owner);
    if (PyBytes_CheckExact(message))
        return Py_NewRef(message);
    if (body->viewed)
        return PyMemoryView_FromObject(message);
    return PyBytes_FromStringAndSize((const char *)body->data,
                                     (Py_ssize_t)body->len);
}

static PyObject *
part_frame(const pn_frame *header, const payload *body, PyObject *message)
{
    uint8_t head[PN_FRAME_HEADER_MAX];
    size_t size = pn_frame_encode_header(head, header);
    PyObject *first =
        PyBytes_FromStringAndSize((const char *)head, (Py_ssize_t)size);
    PyObject *second =
        first == NULL ? NULL : part_payload(header, body, message);
    PyObject *parts = second == NULL ? NULL : PyTuple_Pack(2, first, second);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return parts;
}

/* Encode message under a header that tells opcode, final and rsv. */
static PyObject *
encode_message(FrameParserObject *self, pn_frame *header, PyObject *message,
               PyObject *key, bool in_parts)
{
    payload body;
    PyObject *result = NULL;
    if (open_payload(&body, message) < 0)
        return NULL;
    header->length = body.len;
    if (check_header(self, header) == 0 && choose_key(self, header, key) == 0)
        result = in_parts ? part_frame(header, &body, message)
                          : join_frame(header, &body);
    close_payload(&body);
    return result;
}

static int
parse_opcode(pn_frame *header, PyObject *opcode, PyObject *message)
{
    if (opcode == NULL || opcode == Py_None) {
        header->opcode = PyUnicode_Check(message) ? PN_OP_TEXT : PN_OP_BINARY;
        return 0;
    }
    int overflow;
    long value = PyLong_AsLongAndOverflow(opcode, &overflow);
    if (value == -1 && PyErr_Occurred())
        return -1;
    /* Anything out of range is refused as an unknown opcode later. */
    header->opcode = value < 0 || value > 15 ? UINT8_MAX : (uint8_t)value;
    return 0;
}

/* What encode and encode_parts take. */
enum { MESSAGE, FINAL, KEY, OPCODE, RSV1, RSV2, RSV3, ENCODE_ARGUMENTS };

static int
parse_header(pn_frame *header, PyObject *const *given)
{
    if (given[FINAL] != NULL) {
        int truth = PyObject_IsTrue(given[FINAL]);
        if (truth < 0)
            return -1;
        header->final = truth != 0;
    }
    for (int i = 0; i < 3; i++) {
        int truth =
            given[RSV1 + i] == NULL ? 0 : PyObject_IsTrue(given[RSV1 + i]);
        if (truth < 0)
            return -1;
        header->rsv = (uint8_t)(header->rsv << 1 | truth);
    }
    return 0;
}

static PyObject *
encode(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
       PyObject *kwnames, bool in_parts)
{
    static const char *const names[ENCODE_ARGUMENTS] = {
        "message", "final", "masking_key", "opcode", "rsv1", "rsv2", "rsv3"};
    const pn_signature signature = {in_parts ? "encode_parts" : "encode", 1,
                                    ENCODE_ARGUMENTS, names};
    pn_frame header = {.final = true};
    PyObject *given[ENCODE_ARGUMENTS] = {NULL};
    if (nargs == 1 && kwnames == NULL)
        given[MESSAGE] = args[0];
    else if (pn_bind_arguments(&signature, args, nargs, kwnames, given) < 0 ||
             parse_header(&header, given) < 0)
        return NULL;
    if (parse_opcode(&header, given[OPCODE], given[MESSAGE]) < 0)
        return NULL;
    return encode_message((FrameParserObject *)op, &header, given[MESSAGE],
                          given[KEY], in_parts);
}

const char pn_encode_doc[] = PyDoc_STR(
    "encode($self, message, final=True, masking_key=None, opcode=None,\n"
    "       rsv1=0, rsv2=0, rsv3=0)\n--\n\n"
    "One frame as bytes.\n\n"
    "*message* is str (sent as UTF-8, opcode 1 by default), any bytes-like\n"
    "object (opcode 2 by default) or None (empty). *opcode* is 0, 1, 2, 8,\n"
    "9 or 10. *masking_key* is 4 bytes; by default random ones of the\n"
    "kernel's. Parsers that send plain frames ignore it. Bytes given as\n"
    "text are not checked.\n\n"
    "Raises ProtocolError for another opcode and for a control frame that\n"
    "is not final or carries over 125 bytes, AssertionError for a key of\n"
    "another length, TypeError for another type of message.");

PyObject *
pn_frameparser_encode(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    return encode(op, args, nargs, kwnames, false);
}

const char pn_encode_parts_doc[] = PyDoc_STR(
    "encode_parts($self, message, final=True, masking_key=None,\n"
    "             opcode=None, rsv1=0, rsv2=0, rsv3=0)\n--\n\n"
    "One frame as (header, payload), for a transport's writelines().\n\n"
    "As encode(), but a payload that is sent plain is not copied: it is\n"
    "*message* itself if that is bytes, and a memoryview of it if it is\n"
    "another bytes-like object, which must not change until it is sent.");

PyObject *
pn_frameparser_encode_parts(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    return encode(op, args, nargs, kwnames, true);
}

const char pn_continuation_doc[] = PyDoc_STR(
    "continuation($self, body=None, final=True)\n--\n\n"
    "A further fragment of a message, as bytes: opcode 0. Raises what\n"
    "encode() raises.");

PyObject *
pn_frameparser_continuation(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"body", "final"};
    static const pn_signature signature = {"continuation", 0, 2, names};
    PyObject *given[2];
    pn_frame header = {.opcode = PN_OP_CONTINUATION, .final = true};
    if (pn_bind_arguments(&signature, args, nargs, kwnames, given) < 0)
        return NULL;
    if (given[1] != NULL) {
        int truth = PyObject_IsTrue(given[1]);
        if (truth < 0)
            return NULL;
        header.final = truth != 0;
    }
    return encode_message((FrameParserObject *)op, &header, given[0], NULL,
                          false);
}

/* Ping and pong: one optional argument. */
static PyObject *
encode_control(PyObject *op, const pn_signature *signature, uint8_t opcode,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *body;
    pn_frame header = {.opcode = opcode, .final = true};
    if (pn_bind_arguments(signature, args, nargs, kwnames, &body) < 0)
        return NULL;
    return encode_message((FrameParserObject *)op, &header, body, NULL, false);
}

static const char *const body_name[] = {"body"};

const char pn_ping_doc[] =
    PyDoc_STR("ping($self, body=None)\n--\n\n"
              "A ping as bytes. Raises ProtocolError for a body of more than\n"
              "125 bytes.");

PyObject *
pn_frameparser_ping(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const pn_signature signature = {"ping", 0, 1, body_name};
    return encode_control(op, &signature, PN_OP_PING, args, nargs, kwnames);
}

const char pn_pong_doc[] =
    PyDoc_STR("pong($self, body=None)\n--\n\n"
              "A pong as bytes; to answer a ping, give its body. Raises\n"
              "ProtocolError for a body of more than 125 bytes.");

PyObject *
pn_frameparser_pong(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const pn_signature signature = {"pong", 0, 1, body_name};
    return encode_control(op, &signature, PN_OP_PONG, args, nargs, kwnames);
}

/* The code to send; 1000 if none is given. -1 with an exception for one that
 * may not be on the wire. */
static long
parse_close_code(PyObject *op, PyObject *given)
{
    if (given == NULL || given == Py_None)
        return 1000;
    int overflow;
    long code = PyLong_AsLongAndOverflow(given, &overflow);
    if (code == -1 && PyErr_Occurred())
        return -1;
    if (code > 0 && code <= UINT16_MAX &&
        pn_frame_close_code_is_valid((unsigned)code))
        return code;
    PyObject *text =
        PyUnicode_FromFormat("close code %R may not be sent", given);
    (void)pn_raise_protocol_error(Py_TYPE(op), text, 0, NULL);
    return -1;
}

/* Code and reason as bytes. */
static PyObject *
close_body(long code, const payload *reason)
{
    const uint8_t *data = reason->data;
    size_t len = reason->len;
    const char *text = data == NULL ? pn_close_text(code) : NULL;
    if (text != NULL) {
        data = (const uint8_t *)text;
        len = strlen(text);
    }
    PyObject *body = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(2 + len));
    if (body == NULL)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(body);
    to[0] = (uint8_t)(code >> 8);
    to[1] = (uint8_t)code;
    if (len > 0)
        memcpy(to + 2, data, len);
    return body;
}

const char pn_close_doc[] = PyDoc_STR(
    "close($self, code=None, reason=None)\n--\n\n"
    "A close frame as bytes. *code* is 1000 by default; *reason* a str of\n"
    "at most 123 bytes, by default the text in CLOSE_CODES, if any.\n\n"
    "Raises ProtocolError for a code that may not be on the wire, and for a\n"
    "reason that is too long.");

PyObject *
pn_frameparser_close(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    static const char *const names[] = {"code", "reason"};
    static const pn_signature signature = {"close", 0, 2, names};
    pn_frame header = {.opcode = PN_OP_CLOSE, .final = true};
    PyObject *given[2], *frame = NULL;
    payload reason;
    if (pn_bind_arguments(&signature, args, nargs, kwnames, given) < 0)
        return NULL;
    long code = parse_close_code(op, given[0]);
    if (code < 0 || open_payload(&reason, given[1]) < 0)
        return NULL;
    PyObject *body = close_body(code, &reason);
    if (body != NULL)
        frame = encode_message((FrameParserObject *)op, &header, body, NULL,
                               false);
    Py_XDECREF(body);
    close_payload(&reason);
    return frame;
}
