#include "python/plain.h"

#include <string.h>

/* Tuples lie in each other no deeper. */
#define DEPTH 4

/* What a value begins with. */
enum {
    TAG_NONE = 'N',
    TAG_TRUE = 'T',
    TAG_FALSE = 'F',
    TAG_BYTE = 'b',  /* int 0 to 255: one byte */
    TAG_INT = 'i',   /* int: 8 bytes, little-endian, two's complement */
    TAG_FLOAT = 'd', /* 8 bytes, little-endian IEEE 754 */
    TAG_STR = 's',   /* length in one byte, UTF-8 */
    TAG_BYTES = 'y', /* length in one byte, the bytes */
    TAG_TUPLE = '(', /* length in one byte, the items */
    TAG_CALL = '[',  /* tuple, number of keywords in one byte, str and value */
};

/* --- writing --- */

typedef struct {
    uint8_t *next;
    uint8_t *end;
} writer;

static bool
put_tag(writer *to, int tag, const void *bytes, size_t size)
{
    if ((size_t)(to->end - to->next) < size + 1)
        return false;
    *to->next++ = (uint8_t)tag;
    memcpy(to->next, bytes, size);
    to->next += size;
    return true;
}

static bool
put_sized(writer *to, int tag, const char *bytes, Py_ssize_t size)
{
    if (to->end - to->next < size + 2 || size > UINT8_MAX)
        return false;
    *to->next++ = (uint8_t)tag;
    *to->next++ = (uint8_t)size;
    memcpy(to->next, bytes, (size_t)size);
    to->next += size;
    return true;
}

static bool
put_word(writer *to, int tag, uint64_t word)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(word >> (8 * i));
    return put_tag(to, tag, bytes, sizeof bytes);
}

static bool
put_int(writer *to, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    uint8_t small = (uint8_t)number;
    if (overflow != 0)
        return false;
    if (number >= 0 && number <= UINT8_MAX)
        return put_tag(to, TAG_BYTE, &small, 1);
    return put_word(to, TAG_INT, (uint64_t)number);
}

static bool
put_str(writer *to, PyObject *value)
{
    Py_ssize_t size;
    if (PyUnicode_GET_LENGTH(value) > UINT8_MAX)
        return false;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text != NULL)
        return put_sized(to, TAG_STR, text, size);
    PyErr_Clear(); /* surrogates: pickle knows them */
    return false;
}

static bool
put_scalar(writer *to, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type)
        return put_int(to, value);
    if (type == &PyUnicode_Type)
        return put_str(to, value);
    if (value == Py_None)
        return put_tag(to, TAG_NONE, "", 0);
    if (type == &PyBool_Type)
        return put_tag(to, value == Py_True ? TAG_TRUE : TAG_FALSE, "", 0);
    if (type == &PyBytes_Type)
        return put_sized(to, TAG_BYTES, PyBytes_AS_STRING(value),
                         PyBytes_GET_SIZE(value));
    if (type != &PyFloat_Type)
        return false;
    double number = PyFloat_AS_DOUBLE(value);
    uint64_t word;
    memcpy(&word, &number, sizeof word);
    return put_word(to, TAG_FLOAT, word);
}

static bool
put_value(writer *to, PyObject *value, int depth)
{
    if (!PyTuple_CheckExact(value))
        return put_scalar(to, value);
    Py_ssize_t count = PyTuple_GET_SIZE(value);
    uint8_t length = (uint8_t)count;
    if (depth == 0 || count > UINT8_MAX || !put_tag(to, TAG_TUPLE, &length, 1))
        return false;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!put_value(to, PyTuple_GET_ITEM(value, i), depth - 1))
            return false;
    }
    return true;
}

/* The list [tuple, dict] of arguments with keywords. */
static bool
put_call(writer *to, PyObject *list)
{
    PyObject *args = PyList_GET_ITEM(list, 0);
    PyObject *keywords = PyList_GET_ITEM(list, 1);
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (!PyTuple_CheckExact(args) || !PyDict_CheckExact(keywords) ||
        PyDict_Size(keywords) > UINT8_MAX)
        return false;
    uint8_t count = (uint8_t)PyDict_Size(keywords);
    if (!put_tag(to, TAG_CALL, "", 0) || !put_value(to, args, DEPTH) ||
        to->next == to->end)
        return false;
    *to->next++ = count;
    while (PyDict_Next(keywords, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key) || !put_str(to, key) ||
            !put_value(to, value, DEPTH - 1))
            return false;
    }
    return true;
}

size_t
pn_plain_dump(PyObject *value, uint8_t out[PN_PLAIN_SIZE])
{
    writer to = {.next = out, .end = out + PN_PLAIN_SIZE};
    bool is_call = PyList_CheckExact(value) && PyList_GET_SIZE(value) == 2;
    bool done = is_call ? put_call(&to, value) : put_value(&to, value, DEPTH);
    return done ? (size_t)(to.next - out) : 0;
}

/* --- reading --- */

typedef struct {
    const uint8_t *next;
    const uint8_t *end;
} reader;

static PyObject *
malformed(void)
{
    PyErr_SetString(PyExc_ValueError, "a plain payload is malformed");
    return NULL;
}

static size_t
left(const reader *from)
{
    return (size_t)(from->end - from->next);
}

static uint64_t
take_word(reader *from)
{
    uint64_t word = 0;
    for (int i = 0; i < 8; i++)
        word |= (uint64_t)from->next[i] << (8 * i);
    from->next += 8;
    return word;
}

static PyObject *
take_float(reader *from)
{
    uint64_t word = take_word(from);
    double number;
    memcpy(&number, &word, sizeof number);
    return PyFloat_FromDouble(number);
}

/* A length, where at least as many bytes follow; -1 with ValueError. It is
 * read once: the bytes may lie in memory that their sender can still write. */
static Py_ssize_t
take_length(reader *from)
{
    const volatile uint8_t *length = from->next;
    Py_ssize_t size = left(from) > 0 ? *length : 0;
    if (left(from) < 1 || left(from) - 1 < (size_t)size) {
        (void)malformed();
        return -1;
    }
    from->next++;
    return size;
}

/* A length, and as many bytes. */
static PyObject *
take_sized(reader *from, int tag)
{
    Py_ssize_t size = take_length(from);
    if (size < 0)
        return NULL;
    const char *bytes = (const char *)from->next;
    from->next += size;
    if (tag == TAG_BYTES)
        return PyBytes_FromStringAndSize(bytes, size);
    return PyUnicode_DecodeUTF8(bytes, size, NULL);
}

static PyObject *take_value(reader *from, int depth);

static PyObject *
take_tuple(reader *from, int depth)
{
    Py_ssize_t count = depth == 0 ? -1 : take_length(from);
    if (count < 0)
        return depth == 0 ? malformed() : NULL;
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; i < count && tuple != NULL; i++) {
        PyObject *item = take_value(from, depth - 1);
        if (item != NULL)
            PyTuple_SET_ITEM(tuple, i, item);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *
take_value(reader *from, int depth)
{
    if (left(from) < 1)
        return malformed();
    int tag = *from->next++;
    switch (tag) {
    case TAG_NONE:
        Py_RETURN_NONE;
    case TAG_TRUE:
        Py_RETURN_TRUE;
    case TAG_FALSE:
        Py_RETURN_FALSE;
    case TAG_BYTE:
        return left(from) < 1 ? malformed() : PyLong_FromLong(*from->next++);
    case TAG_INT:
        return left(from) < 8 ? malformed()
                              : PyLong_FromLongLong((int64_t)take_word(from));
    case TAG_FLOAT:
        return left(from) < 8 ? malformed() : take_float(from);
    case TAG_STR:
    case TAG_BYTES:
        return take_sized(from, tag);
    case TAG_TUPLE:
        return take_tuple(from, depth);
    default:
        return malformed();
    }
}

static int
take_keyword(reader *from, PyObject *keywords)
{
    int err = -1;
    PyObject *key = take_value(from, 0);
    PyObject *value = key == NULL ? NULL : take_value(from, DEPTH - 1);
    if (value != NULL && PyUnicode_CheckExact(key))
        err = PyDict_SetItem(keywords, key, value);
    else if (value != NULL)
        (void)malformed();
    Py_XDECREF(key);
    Py_XDECREF(value);
    return err;
}

static PyObject *
take_call(reader *from)
{
    PyObject *args = take_value(from, DEPTH);
    PyObject *keywords = args == NULL ? NULL : PyDict_New();
    int err = keywords == NULL ? -1 : 0;
    if (err == 0 && left(from) < 1) {
        (void)malformed();
        err = -1;
    }
    for (int count = err == 0 ? *from->next++ : 0; count > 0 && err == 0;
         count--)
        err = take_keyword(from, keywords);
    PyObject *list = err == 0 ? Py_BuildValue("[OO]", args, keywords) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    return list;
}

PyObject *
pn_plain_load(const uint8_t *bytes, size_t size)
{
    reader from = {.next = bytes, .end = bytes + size};
    PyObject *value;
    if (size > 0 && bytes[0] == TAG_CALL) {
        from.next++;
        value = take_call(&from);
    } else {
        value = take_value(&from, DEPTH);
    }
    if (value == NULL || from.next == from.end)
        return value;
    Py_DECREF(value);
    return malformed();
}

/* --- functions of the module --- */

static PyObject *
dump_plain(PyObject *module, PyObject *value)
{
    (void)module;
    uint8_t out[PN_PLAIN_SIZE];
    size_t size = pn_plain_dump(value, out);
    if (size == 0)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)out, (Py_ssize_t)size);
}

static PyObject *
load_plain(PyObject *module, PyObject *bytes)
{
    (void)module;
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(bytes, &data, &size) < 0)
        return NULL;
    return pn_plain_load((const uint8_t *)data, (size_t)size);
}

static PyMethodDef functions[] = {
    {"dump_plain", dump_plain, METH_O,
     PyDoc_STR("dump_plain($module, value, /)\n--\n\n"
               "The payload of a small plain value; None if pickle writes "
               "it.")},
    {"load_plain", load_plain, METH_O,
     PyDoc_STR("load_plain($module, data, /)\n--\n\n"
               "The value of such a payload; ValueError if it is none.")},
    {NULL, NULL, 0, NULL},
};

int
pn_add_plain(PyObject *module, pn_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, functions);
}
