#include "python/frame.h"

#include <structmember.h>

#include <string.h>

/* Refers to str and bytes only, so the collector need not know of it. */
typedef struct {
    PyObject_HEAD PyObject *body;
    uint8_t opcode;
    bool final;
    bool masked;
    uint8_t key[4];
} FrameObject;

PyObject *
pn_frame_object(PyTypeObject *type, const pn_frame *header, PyObject *body)
{
    FrameObject *self = PyObject_New(FrameObject, type);
    if (self == NULL) {
        Py_DECREF(body);
        return NULL;
    }
    self->body = body;
    self->opcode = header->opcode;
    self->final = header->final;
    self->masked = header->masked;
    memcpy(self->key, header->key, 4);
    return (PyObject *)self;
}

static void
frame_dealloc(PyObject *op)
{
    PyTypeObject *tp = Py_TYPE(op);
    Py_DECREF(((FrameObject *)op)->body);
    tp->tp_free(op);
    Py_DECREF(tp); /* every instance owns its heap type */
}

static PyObject *
frame_masking_key(PyObject *op, void *Py_UNUSED(closure))
{
    FrameObject *self = (FrameObject *)op;
    return PyBytes_FromStringAndSize((const char *)self->key,
                                     self->masked ? 4 : 0);
}

/* Whether the frame has the opcode that closure points to. */
static PyObject *
frame_has_opcode(PyObject *op, void *closure)
{
    return PyBool_FromLong(((FrameObject *)op)->opcode ==
                           *(const uint8_t *)closure);
}

static PyObject *
frame_repr(PyObject *op)
{
    FrameObject *self = (FrameObject *)op;
    Py_ssize_t size = PyObject_Size(self->body);
    if (size < 0)
        return NULL;
    return PyUnicode_FromFormat(
        "<Frame opcode=%d final=%s, %s body of length %zd>", self->opcode,
        self->final ? "True" : "False", Py_TYPE(self->body)->tp_name, size);
}

static const uint8_t text = PN_OP_TEXT, binary = PN_OP_BINARY,
                     close_ = PN_OP_CLOSE, ping = PN_OP_PING,
                     pong = PN_OP_PONG;

static PyGetSetDef frame_getset[] = {
    {"masking_key", frame_masking_key, NULL,
     "The four bytes of the masking key; b'' for a plain frame.", NULL},
    {"is_message", frame_has_opcode, NULL, "Opcode 1: text.", (void *)&text},
    {"is_bytes", frame_has_opcode, NULL, "Opcode 2: binary.", (void *)&binary},
    {"is_close", frame_has_opcode, NULL, "Opcode 8.", (void *)&close_},
    {"is_ping", frame_has_opcode, NULL, "Opcode 9.", (void *)&ping},
    {"is_pong", frame_has_opcode, NULL, "Opcode 10.", (void *)&pong},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef frame_members[] = {
    {"body", T_OBJECT_EX, offsetof(FrameObject, body), READONLY,
     "The payload: str for opcode 1, else bytes."},
    {"opcode", T_UBYTE, offsetof(FrameObject, opcode), READONLY,
     "0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong."},
    {"final", T_BOOL, offsetof(FrameObject, final), READONLY,
     "Whether the frame is the last, or only, one of its message."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(frame_doc,
             "A WebSocket frame, as FrameParser.decode() gives it. It cannot\n"
             "be changed, nor made by hand.");

static PyType_Slot frame_slots[] = {
    {Py_tp_doc, (void *)frame_doc}, {Py_tp_dealloc, frame_dealloc},
    {Py_tp_repr, frame_repr},       {Py_tp_getset, frame_getset},
    {Py_tp_members, frame_members}, {0, NULL},
};

static PyType_Spec frame_spec = {
    .name = "pulsar_native._native.Frame",
    .basicsize = sizeof(FrameObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = frame_slots,
};

int
pn_add_frame(PyObject *module, pn_state *state)
{
    state->frame_type = PyType_FromModuleAndSpec(module, &frame_spec, NULL);
    if (state->frame_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "Frame", state->frame_type);
}
