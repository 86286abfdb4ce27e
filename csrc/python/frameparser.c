#include "python/frameparser.h"

#include <structmember.h>

#define DEFAULT_MAX_PAYLOAD (64LL * 1024 * 1024)

/* A limit in bytes, or -1 with ValueError or TypeError set. */
static int64_t
parse_limit(PyObject *value, const char *name, int64_t otherwise)
{
    if (value == NULL || value == Py_None)
        return otherwise;
    int overflow;
    int64_t limit = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (limit == -1 && PyErr_Occurred())
        return -1;
    if (limit > 0)
        return limit;
    PyErr_Format(PyExc_ValueError, "%s must be from 1 to 2**63 - 1, not %R",
                 name, value);
    return -1;
}

static int
take_entropy(FrameParserObject *self, PyTypeObject *type)
{
    pn_state *state = pn_state_of(type);
    if (state == NULL)
        return -1;
    self->frame_type = Py_NewRef(state->frame_type);
    self->entropy_capsule = Py_NewRef(state->entropy);
    self->entropy = PyCapsule_GetPointer(state->entropy, NULL);
    return self->entropy == NULL ? -1 : 0;
}

static PyObject *
frameparser_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind",        "extensions",  "protocols",
                            "max_payload", "max_message", NULL};
    int kind = 0;
    PyObject *extensions = Py_None, *protocols = Py_None;
    PyObject *max_payload = NULL, *max_message = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iOO$OO:FrameParser",
                                     names, &kind, &extensions, &protocols,
                                     &max_payload, &max_message))
        return NULL;
    if (kind < 0 || kind > 3)
        return PyErr_Format(PyExc_ValueError, "kind must be 0 to 3, not %d",
                            kind);
    int64_t frame =
        parse_limit(max_payload, "max_payload", DEFAULT_MAX_PAYLOAD);
    int64_t message =
        frame < 0 ? -1 : parse_limit(max_message, "max_message", frame);
    if (message < 0)
        return NULL;

    FrameParserObject *self = (FrameParserObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->version = 13;
    self->kind = kind;
    self->decode_mask_length = kind == 0 || kind == 3 ? 4 : 0;
    self->encode_mask_length = kind == 1 || kind == 3 ? 4 : 0;
    self->extensions = Py_NewRef(extensions);
    self->protocols = Py_NewRef(protocols);
    pn_reader_init(&self->reader, &(pn_reader_options){
                                      .room = pn_frameparser_room,
                                      .context = self,
                                      .max_frame = (uint64_t)frame,
                                      .max_message = (uint64_t)message,
                                      .masked = self->decode_mask_length > 0,
                                  });
    if (take_entropy(self, type) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int
frameparser_traverse(PyObject *op, visitproc visit, void *arg)
{
    FrameParserObject *self = (FrameParserObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->frame_type);
    Py_VISIT(self->entropy_capsule);
    Py_VISIT(self->extensions);
    Py_VISIT(self->protocols);
    Py_VISIT(self->chunk);
    /* Not body: gc.get_referents() must not show it half made, and no cycle
     * runs through bytes or str. */
    return 0;
}

/* Only what a cycle may run through, so that methods go on working. */
static int
frameparser_clear(PyObject *op)
{
    FrameParserObject *self = (FrameParserObject *)op;
    Py_CLEAR(self->extensions);
    Py_CLEAR(self->protocols);
    return 0;
}

static void
frameparser_dealloc(PyObject *op)
{
    PyTypeObject *tp = Py_TYPE(op);
    FrameParserObject *self = (FrameParserObject *)op;
    PyObject_GC_UnTrack(op);
    (void)frameparser_clear(op);
    Py_CLEAR(self->body);
    Py_CLEAR(self->chunk);
    Py_CLEAR(self->frame_type);
    Py_CLEAR(self->entropy_capsule);
    tp->tp_free(op);
    Py_DECREF(tp); /* every instance owns its heap type */
}

#define ENCODER(name)                                                         \
    {                                                                         \
#name, (PyCFunction)(void (*)(void))pn_frameparser_##name,            \
            METH_FASTCALL | METH_KEYWORDS, pn_##name##_doc                    \
    }

static PyMethodDef frameparser_methods[] = {
    {"decode", (PyCFunction)(void (*)(void))pn_frameparser_decode,
     METH_FASTCALL, pn_decode_doc},
    {"decode_all", pn_frameparser_decode_all, METH_O, pn_decode_all_doc},
    ENCODER(encode),
    ENCODER(encode_parts),
    ENCODER(continuation),
    ENCODER(ping),
    ENCODER(pong),
    ENCODER(close),
    {NULL, NULL, 0, NULL},
};

#define MEMBER(name, type, doc)                                               \
    {                                                                         \
#name, type, offsetof(FrameParserObject, name), READONLY, doc         \
    }

static PyMemberDef frameparser_members[] = {
    MEMBER(version, T_INT, "Of the protocol: 13."),
    MEMBER(kind, T_INT,
           "0 server, 1 client, 2 plain both ways, 3 masked both ways."),
    MEMBER(extensions, T_OBJECT, "As given; not used."),
    MEMBER(protocols, T_OBJECT, "As given; not used."),
    MEMBER(decode_mask_length, T_INT, "4 if frames must come masked, else 0."),
    MEMBER(encode_mask_length, T_INT, "4 if frames are sent masked, else 0."),
    {"max_payload", T_ULONGLONG,
     offsetof(FrameParserObject, reader.options.max_frame), READONLY,
     "How many bytes a data frame that comes in may carry."},
    {"max_message", T_ULONGLONG,
     offsetof(FrameParserObject, reader.options.max_message), READONLY,
     "How many bytes all frames of a message that comes in may carry."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    frameparser_doc,
    "FrameParser(kind=0, extensions=None, protocols=None, *,\n"
    "            max_payload=None, max_message=None)\n--\n\n"
    "Both directions of a WebSocket's frames (RFC 6455), without I/O.\n\n"
    "*kind* is 0 for a server (masked frames come, plain ones go), 1 for a\n"
    "client (the reverse), 2 plain both ways, 3 masked both ways.\n"
    "*extensions* and *protocols* are kept as attributes. *max_payload* and\n"
    "*max_message* limit what is accepted, in bytes, for one data frame (64\n"
    "MiB if None) and for all frames of one message (as max_payload).\n\n"
    "The rules of RFC 6455 hold: reserved bits and opcodes, wrong masks,\n"
    "lengths not in their shortest form, fragments out of order, broken\n"
    "control and close frames and text that is not UTF-8 are refused, the\n"
    "last at its first wrong byte.\n\n"
    "A frame's body is str for opcode 1, else bytes. Where a text message\n"
    "comes in fragments, its first body holds the characters that are\n"
    "complete; the bytes of one cut short stand at the start of the next\n"
    "body, so that first.body.encode() + b''.join(bodies of the rest) is the\n"
    "message.\n\n"
    "Raises ValueError for a kind or limit out of range.");

static PyType_Slot frameparser_slots[] = {
    {Py_tp_doc, (void *)frameparser_doc},
    {Py_tp_new, frameparser_new},
    {Py_tp_dealloc, frameparser_dealloc},
    {Py_tp_traverse, frameparser_traverse},
    {Py_tp_clear, frameparser_clear},
    {Py_tp_methods, frameparser_methods},
    {Py_tp_members, frameparser_members},
    {0, NULL},
};

static PyType_Spec frameparser_spec = {
    .name = "pulsar_native._native.FrameParser",
    .basicsize = sizeof(FrameParserObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = frameparser_slots,
};

static void
free_entropy(PyObject *capsule)
{
    pn_entropy_free(PyCapsule_GetPointer(capsule, NULL));
}

int
pn_add_frameparser(PyObject *module, pn_state *state)
{
    pn_entropy *entropy = pn_entropy_new();
    if (entropy == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    state->entropy = PyCapsule_New(entropy, NULL, free_entropy);
    if (state->entropy == NULL) {
        pn_entropy_free(entropy);
        return -1;
    }
    state->frameparser_type =
        PyType_FromModuleAndSpec(module, &frameparser_spec, NULL);
    if (state->frameparser_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "FrameParser",
                                 state->frameparser_type);
}
