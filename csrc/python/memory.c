#include "python/memory.h"

/* Not a GC type: a whole holds no object, and a part only a whole. */
typedef struct {
    PyObject_HEAD PyObject *whole; /* the Memory of which it is a part */
    pn_ref ref;                    /* of a part: borrowed */
} MemoryObject;

static void
memory_dealloc(PyObject *op)
{
    MemoryObject *self = (MemoryObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    Py_CLEAR(self->whole);
    pn_ref_release(&self->ref);
    type->tp_free(op);
    Py_DECREF(type);
}

static int
memory_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    const pn_ref *ref = &((MemoryObject *)op)->ref;
    return PyBuffer_FillInfo(view, op, (void *)(uintptr_t)ref->data,
                             (Py_ssize_t)ref->size, 0, flags);
}

static Py_ssize_t
memory_length(PyObject *op)
{
    return (Py_ssize_t)((MemoryObject *)op)->ref.size;
}

PyDoc_STRVAR(memory_doc,
             "Writable memory that came with a message; memoryview() shows "
             "it.");

static PyType_Slot memory_slots[] = {
    {Py_tp_doc, (void *)memory_doc},
    {Py_tp_dealloc, memory_dealloc},
    {Py_bf_getbuffer, memory_getbuffer},
    {Py_sq_length, memory_length},
    {0, NULL},
};

static PyType_Spec memory_spec = {
    .name = "pulsar_native._native.Memory",
    .basicsize = sizeof(MemoryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = memory_slots,
};

int
pn_add_memory(PyObject *module, pn_state *state)
{
    state->memory_type = PyType_FromModuleAndSpec(module, &memory_spec, NULL);
    return state->memory_type == NULL
               ? -1
               : PyModule_AddType(module, (PyTypeObject *)state->memory_type);
}

static MemoryObject *
new_memory(pn_state *state)
{
    PyTypeObject *type = (PyTypeObject *)state->memory_type;
    return (MemoryObject *)type->tp_alloc(type, 0);
}

PyObject *
pn_memory_new(pn_state *state, pn_ref *ref)
{
    MemoryObject *self = new_memory(state);
    if (self == NULL) {
        pn_ref_release(ref);
        return NULL;
    }
    self->ref = *ref;
    *ref = (pn_ref){0};
    return (PyObject *)self;
}

PyObject *
pn_memory_part(pn_state *state, PyObject *whole, size_t offset, size_t size)
{
    MemoryObject *self = new_memory(state);
    if (self == NULL)
        return NULL;
    const uint8_t *data = ((MemoryObject *)whole)->ref.data;
    self->whole = Py_NewRef(whole);
    self->ref = pn_ref_borrowed(data + offset, size);
    return (PyObject *)self;
}
