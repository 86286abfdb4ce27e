#include "python/websocket.h"

#include "python/view.h"
#include "ws/frame.h"
#include "ws/mask.h"

/* The codes that this library sends with a text of its own (RFC 6455,
 * section 7.4.1). */
static const struct {
    int code;
    const char *text;
} close_codes[] = {
    {1000, "OK"},
    {1001, "going away"},
    {1002, "protocol error"},
    {1003, "unsupported type"},
    {1007, "invalid data"},
    {1008, "policy violation"},
    {1009, "message too big"},
    {1010, "extension required"},
    {1011, "unexpected error"},
};

#define KEY_SIZE "a masking key has 4 bytes"
#define CLOSE_CODES (sizeof close_codes / sizeof *close_codes)

const char *
pn_close_text(long code)
{
    for (size_t i = 0; i < CLOSE_CODES; i++) {
        if (close_codes[i].code == code)
            return close_codes[i].text;
    }
    return NULL;
}

static int
add_close_codes(PyObject *module)
{
    PyObject *codes = PyDict_New();
    if (codes == NULL)
        return -1;
    int err = 0;
    for (size_t i = 0; i < CLOSE_CODES && err == 0; i++) {
        PyObject *code = PyLong_FromLong(close_codes[i].code);
        PyObject *text = PyUnicode_FromString(close_codes[i].text);
        err = code == NULL || text == NULL ? -1
                                           : PyDict_SetItem(codes, code, text);
        Py_XDECREF(code);
        Py_XDECREF(text);
    }
    if (err == 0)
        err = PyModule_AddObjectRef(module, "CLOSE_CODES", codes);
    Py_DECREF(codes);
    return err;
}

PyDoc_STRVAR(close_code_is_valid_doc,
             "close_code_is_valid(code, /)\n--\n\n"
             "Whether a close frame may carry this code.");

static PyObject *
close_code_is_valid(PyObject *Py_UNUSED(module), PyObject *arg)
{
    int overflow;
    long code = PyLong_AsLongAndOverflow(arg, &overflow);
    if (code == -1 && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(code > 0 && code <= UINT16_MAX &&
                           pn_frame_close_code_is_valid((unsigned)code));
}

PyDoc_STRVAR(
    apply_mask_doc,
    "apply_mask(data, key, /)\n--\n\n"
    "*data*, any contiguous buffer, masked or unmasked by the 4 bytes of\n"
    "*key*, as new bytes (RFC 6455, section 5.3).\n\n"
    "Raises ValueError for a key of another length.");

static PyObject *
mask_view(const pn_view *data, const pn_view *key)
{
    if (key->len != 4) {
        PyErr_SetString(PyExc_ValueError, KEY_SIZE);
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)data->len);
    if (bytes != NULL && data->len > 0)
        pn_mask_copy((uint8_t *)PyBytes_AS_STRING(bytes), data->data,
                     data->len, key->data, 0);
    return bytes;
}

static PyObject *
apply_mask(PyObject *Py_UNUSED(module), PyObject *const *args,
           Py_ssize_t nargs)
{
    pn_view data, key;
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError,
                     "apply_mask() takes 2 arguments, got %zd", nargs);
        return NULL;
    }
    if (pn_view_open(&data, args[0]) < 0)
        return NULL;
    if (pn_view_open(&key, args[1]) < 0) {
        pn_view_close(&data);
        return NULL;
    }
    PyObject *bytes = mask_view(&data, &key);
    pn_view_close(&key);
    pn_view_close(&data);
    return bytes;
}

PyDoc_STRVAR(mask_in_place_doc,
             "mask_in_place(data, key, /)\n--\n\n"
             "Mask or unmask *data*, a contiguous writable buffer such as a\n"
             "bytearray, where it is, by the 4 bytes of *key*.\n\n"
             "Raises ValueError for a key of another length, BufferError for\n"
             "a buffer that is read-only.");

static PyObject *
mask_in_place(PyObject *Py_UNUSED(module), PyObject *const *args,
              Py_ssize_t nargs)
{
    Py_buffer data;
    pn_view key;
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError,
                     "mask_in_place() takes 2 arguments, got %zd", nargs);
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &data, PyBUF_WRITABLE) < 0)
        return NULL;
    if (pn_view_open(&key, args[1]) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    bool right = key.len == 4;
    if (right)
        pn_mask_apply(data.buf, (size_t)data.len, key.data, 0);
    else
        PyErr_SetString(PyExc_ValueError, KEY_SIZE);
    pn_view_close(&key);
    PyBuffer_Release(&data);
    return right ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef functions[] = {
    {"close_code_is_valid", close_code_is_valid, METH_O,
     close_code_is_valid_doc},
    {"apply_mask", (PyCFunction)(void (*)(void))apply_mask, METH_FASTCALL,
     apply_mask_doc},
    {"mask_in_place", (PyCFunction)(void (*)(void))mask_in_place,
     METH_FASTCALL, mask_in_place_doc},
    {NULL, NULL, 0, NULL},
};

int
pn_add_websocket(PyObject *module, pn_state *Py_UNUSED(state))
{
    if (add_close_codes(module) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
