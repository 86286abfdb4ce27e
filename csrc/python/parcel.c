#include "python/parcel.h"

#include "base/alloc.h"
#include "base/status.h"
#include "python/memory.h"
#include "python/payload.h"
#include "python/view.h"

#include <string.h>

/* Up to the next place where a part of a payload may begin. */
static size_t
padded(size_t size)
{
    return (size + PN_ALIGNMENT - 1) / PN_ALIGNMENT * PN_ALIGNMENT;
}

/* --- out --- */

static void
close_buffers(Py_buffer *buffers, size_t count)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    for (size_t i = 0; i < count; i++)
        PyBuffer_Release(&buffers[i]);
    pn_free(buffers);
    PyErr_Restore(type, error, traceback);
}

void
pn_parcel_drop(pn_parcel *parcel)
{
    pn_parcel old = *parcel;
    *parcel = (pn_parcel){0};
    if (old.buffers != NULL)
        close_buffers(old.buffers, old.count);
    pn_ref_release(&old.pickle);
}

/* Open what dumps put into the list. */
static int
open_buffers(PyObject *list, pn_parcel *out)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (count > PN_BUFFERS_LIMIT) {
        PyErr_Format(PyExc_ValueError, "%zd buffers out of band, over %d",
                     count, PN_BUFFERS_LIMIT);
        return -1;
    }
    out->buffers = pn_alloc_zeroed((size_t)count, sizeof *out->buffers);
    if (out->buffers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->size = padded(out->size);
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_buffer *buffer = &out->buffers[i];
        if (PyObject_GetBuffer(PyList_GET_ITEM(list, i), buffer,
                               PyBUF_SIMPLE) < 0)
            return -1;
        out->count++;
        out->size += padded((size_t)buffer->len);
    }
    return 0;
}

/* By dumps: the list is ours alone once it has returned. */
static int
dump_apart(PyObject *dumps, PyObject *value, pn_parcel *out)
{
    PyObject *list = PyList_New(0);
    if (list == NULL)
        return -1;
    PyObject *args[] = {value, list};
    PyObject *bytes = PyObject_Vectorcall(dumps, args, 2, NULL);
    int err = bytes == NULL ? -1 : pn_payload_of(bytes, &out->pickle);
    out->size = out->pickle.size;
    if (err == 0 && PyList_GET_SIZE(list) > 0)
        err = open_buffers(list, out);
    Py_XDECREF(bytes);
    Py_DECREF(list);
    return err;
}

int
pn_parcel_dump(pn_state *state, PyObject *dumps, PyObject *value,
               pn_parcel *out)
{
    *out = (pn_parcel){0};
    int err = pn_payload_dump_plain(state, value, &out->pickle);
    out->size = out->pickle.size;
    if (err == 0 && out->pickle.data == NULL)
        err = dump_apart(dumps, value, out);
    if (err < 0)
        pn_parcel_drop(out);
    return err;
}

void
pn_parcel_tell(const pn_parcel *parcel, pn_parcel_sizes *sizes,
               pn_extension *ext)
{
    size_t count = 0;
    while (count < parcel->count)
        count = pn_extension_append(sizes->bytes, count,
                                    (uint64_t)parcel->buffers[count].len);
    ext->buffers = sizes->bytes;
    ext->buffers_count = count;
}

/* Copy size bytes, with zeros behind them; where the next part goes. */
static uint8_t *
put_part(uint8_t *to, const void *bytes, size_t size)
{
    size_t whole = padded(size);
    if (size > 0)
        memcpy(to, bytes, size);
    memset(to + size, 0, whole - size);
    return to + whole;
}

void
pn_parcel_copy(const pn_parcel *parcel, uint8_t *to)
{
    const pn_ref *pickle = &parcel->pickle;
    if (parcel->count == 0) {
        memcpy(to, pickle->data, pickle->size);
        return;
    }
    to = put_part(to, pickle->data, pickle->size);
    for (size_t i = 0; i < parcel->count; i++) {
        const Py_buffer *buffer = &parcel->buffers[i];
        to = put_part(to, buffer->buf, (size_t)buffer->len);
    }
}

int
pn_parcel_pack(pn_parcel *parcel, pn_ref *out)
{
    uint8_t *block = NULL;
    *out = (pn_ref){0};
    if (parcel->count == 0) {
        *out = parcel->pickle;
        parcel->pickle = (pn_ref){0};
    } else {
        block = pn_ref_block(out, parcel->size);
        if (block != NULL)
            pn_parcel_copy(parcel, block);
    }
    return parcel->count > 0 && block == NULL ? PN_ENOMEM : PN_OK;
}

/* --- in --- */

/* How many bytes of a payload lie ahead of its buffers; -1 with ValueError if
 * these do not fit in. */
static Py_ssize_t
size_ahead(const pn_extension *ext, size_t size)
{
    size_t left = size;
    for (size_t i = 0; i < ext->buffers_count; i++) {
        uint64_t one = pn_extension_number(ext->buffers, i);
        if (one > left || padded((size_t)one) > left) {
            PyErr_SetString(PyExc_ValueError,
                            "buffers are longer than their payload");
            return -1;
        }
        left -= padded((size_t)one);
    }
    return (Py_ssize_t)left;
}

/* A tuple of the buffers, which lie in a Memory from offset on. */
static PyObject *
cut(pn_state *state, PyObject *whole, size_t offset, const pn_extension *ext)
{
    PyObject *parts = PyTuple_New((Py_ssize_t)ext->buffers_count);
    for (size_t i = 0; parts != NULL && i < ext->buffers_count; i++) {
        size_t size = (size_t)pn_extension_number(ext->buffers, i);
        PyObject *part = pn_memory_part(state, whole, offset, size);
        offset += padded(size);
        if (part == NULL)
            Py_CLEAR(parts);
        else
            PyTuple_SET_ITEM(parts, (Py_ssize_t)i, part);
    }
    return parts;
}

/* A Memory that has the buffers from *offset on: that of ref, or a copy. */
static PyObject *
take_memory(pn_state *state, const uint8_t *bytes, size_t size, pn_ref *ref,
            size_t *offset)
{
    pn_ref copy;
    if (ref->data != NULL)
        return pn_memory_new(state, ref);
    if (pn_ref_copy(&copy, bytes + *offset, size - *offset) < 0)
        return PyErr_NoMemory();
    *offset = 0;
    return pn_memory_new(state, &copy);
}

static PyObject *
load_apart(pn_state *state, PyObject *loads, const uint8_t *bytes, size_t size,
           pn_ref *ref, const pn_extension *ext)
{
    Py_ssize_t ahead = size_ahead(ext, size);
    if (ahead < 0)
        return NULL;
    size_t offset = (size_t)ahead;
    PyObject *parts = NULL, *value = NULL;
    PyObject *whole = take_memory(state, bytes, size, ref, &offset);
    if (whole != NULL)
        parts = cut(state, whole, offset, ext);
    if (parts != NULL)
        value =
            pn_payload_load_with(state, loads, bytes, (size_t)ahead, parts);
    Py_XDECREF(parts);
    Py_XDECREF(whole);
    return value;
}

PyObject *
pn_parcel_load(pn_state *state, PyObject *loads, const uint8_t *bytes,
               size_t size, pn_ref *ref, const pn_extension *ext)
{
    PyObject *value = ext->buffers_count > 0
                          ? load_apart(state, loads, bytes, size, ref, ext)
                          : pn_payload_load(state, loads, bytes, size);
    pn_ref_release(ref);
    return value;
}

/* --- functions, for tests and for who measures --- */

PyDoc_STRVAR(dump_doc,
             "dump_parcel($module, value, dumps, /)\n--\n\n"
             "(payload, sizes): value as a message carries it, and the sizes "
             "of\nits buffers. dumps(value, buffers) gives the pickle.");

static PyObject *
dump_parcel(PyObject *module, PyObject *args)
{
    PyObject *value, *dumps;
    pn_parcel parcel;
    pn_state *state = PyModule_GetState(module);
    if (!PyArg_ParseTuple(args, "OO:dump_parcel", &value, &dumps) ||
        pn_parcel_dump(state, dumps, value, &parcel) < 0)
        return NULL;
    PyObject *sizes = PyTuple_New((Py_ssize_t)parcel.count);
    for (size_t i = 0; sizes != NULL && i < parcel.count; i++) {
        PyObject *size = PyLong_FromSsize_t(parcel.buffers[i].len);
        if (size == NULL)
            Py_CLEAR(sizes);
        else
            PyTuple_SET_ITEM(sizes, (Py_ssize_t)i, size);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)parcel.size);
    if (bytes != NULL)
        pn_parcel_copy(&parcel, (uint8_t *)PyBytes_AS_STRING(bytes));
    pn_parcel_drop(&parcel);
    if (sizes != NULL && bytes != NULL)
        return Py_BuildValue("(NN)", bytes, sizes);
    Py_XDECREF(bytes);
    Py_XDECREF(sizes);
    return NULL;
}

/* A tuple of numbers as an extension tells it. 0, or -1 with an exception. */
static int
read_sizes(PyObject *tuple, pn_parcel_sizes *sizes, pn_extension *ext)
{
    size_t count = 0;
    *ext = (pn_extension){0};
    if (PyTuple_GET_SIZE(tuple) > PN_BUFFERS_LIMIT) {
        PyErr_SetString(PyExc_ValueError, "too many buffers");
        return -1;
    }
    while ((Py_ssize_t)count < PyTuple_GET_SIZE(tuple)) {
        unsigned long long size = PyLong_AsUnsignedLongLong(
            PyTuple_GET_ITEM(tuple, (Py_ssize_t)count));
        if (PyErr_Occurred())
            return -1;
        count = pn_extension_append(sizes->bytes, count, size);
    }
    ext->buffers = sizes->bytes;
    ext->buffers_count = count;
    return 0;
}

PyDoc_STRVAR(load_doc,
             "load_parcel($module, payload, sizes, loads, /)\n--\n\n"
             "The value of what dump_parcel() gave, by loads(pickle, "
             "buffers=...).\n\n"
             "Raises ValueError if the buffers cannot lie in the payload.");

static PyObject *
load_parcel(PyObject *module, PyObject *args)
{
    pn_view view;
    pn_ref ref = {0};
    pn_extension ext;
    pn_parcel_sizes sizes;
    PyObject *payload, *tuple, *loads;
    if (!PyArg_ParseTuple(args, "OO!O:load_parcel", &payload, &PyTuple_Type,
                          &tuple, &loads) ||
        read_sizes(tuple, &sizes, &ext) < 0 ||
        pn_view_open(&view, payload) < 0)
        return NULL;
    PyObject *value = pn_parcel_load(PyModule_GetState(module), loads,
                                     view.data, view.len, &ref, &ext);
    pn_view_close(&view);
    return value;
}

static PyMethodDef functions[] = {
    {"dump_parcel", dump_parcel, METH_VARARGS, dump_doc},
    {"load_parcel", load_parcel, METH_VARARGS, load_doc},
    {NULL, NULL, 0, NULL},
};

int
pn_add_parcel(PyObject *module, pn_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, functions);
}
