#include "base/status.h"
#include "python/frame.h"
#include "python/frameparser.h"
#include "python/view.h"
#include "ws/text.h"

#include <string.h>

#define BATCH 64

/* Room for text: a str that is right if the text turns out to be ASCII, and
 * otherwise serves as the place where it is gathered. */
static uint8_t *
room_for_text(FrameParserObject *self, size_t length)
{
    self->body = PyUnicode_New((Py_ssize_t)length, 0x7f);
    return self->body == NULL ? NULL : PyUnicode_1BYTE_DATA(self->body);
}

static uint8_t *
room_for_bytes(FrameParserObject *self, size_t length, size_t carry)
{
    self->body = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(length + carry));
    if (self->body == NULL)
        return NULL;
    uint8_t *room = (uint8_t *)PyBytes_AS_STRING(self->body);
    if (carry > 0) {
        memcpy(room, self->carry, carry);
        self->carry_size = 0;
    }
    return room + carry;
}

/* Allocates nothing that the collector tracks, so no Python code runs. */
uint8_t *
pn_frameparser_room(void *context, const pn_frame *frame)
{
    FrameParserObject *self = context;
    if (frame->length > PY_SSIZE_T_MAX / 2)
        return NULL;
    size_t length = (size_t)frame->length;
    uint8_t *room;
    if (frame->opcode == PN_OP_TEXT)
        room = room_for_text(self, length);
    else if (frame->opcode == PN_OP_CONTINUATION)
        room = room_for_bytes(self, length, self->carry_size);
    else
        room = room_for_bytes(self, length, 0);
    if (room == NULL)
        PyErr_Clear(); /* the reader says PN_ENOMEM */
    return room;
}

/* utf8[0..len) as a new str. */
static PyObject *
make_text(const uint8_t *utf8, size_t len, pn_text_size size)
{
    PyObject *text = PyUnicode_New((Py_ssize_t)size.count, size.highest);
    if (text == NULL || size.count == 0)
        return text;
    if (size.highest <= 0xff)
        pn_text_to_latin1(PyUnicode_1BYTE_DATA(text), utf8, len);
    else if (size.highest <= 0xffff)
        pn_text_to_ucs2(PyUnicode_2BYTE_DATA(text), utf8, len);
    else
        pn_text_to_ucs4(PyUnicode_4BYTE_DATA(text), utf8, len);
    return text;
}

/* The str of a whole text frame, whose UTF-8 lies in the storage of gathered;
 * takes over that reference. A character cut short is carried over. */
static PyObject *
finish_text(FrameParserObject *self, PyObject *gathered)
{
    const uint8_t *utf8 = PyUnicode_1BYTE_DATA(gathered);
    size_t len = (size_t)self->reader.frame.length, tail = 0;
    if (!self->reader.frame.final) {
        tail = pn_utf8_tail(utf8, len);
        len -= tail;
        memcpy(self->carry, utf8 + len, tail);
        self->carry_size = (uint8_t)tail;
    }
    pn_text_size size = pn_text_measure(utf8, len);
    if (size.highest == 0x7f && tail == 0)
        return gathered;
    PyObject *text = make_text(utf8, len, size);
    Py_DECREF(gathered);
    return text;
}

/* The Frame that the reader has completed; NULL with MemoryError, and then
 * the parser has failed. */
static PyObject *
take_frame(FrameParserObject *self)
{
    PyObject *body = self->body, *frame = NULL;
    bool text = self->reader.frame.opcode == PN_OP_TEXT;
    self->body = NULL;
    if (body == NULL)
        body = text ? PyUnicode_New(0, 0) : PyBytes_FromStringAndSize(NULL, 0);
    else if (text)
        body = finish_text(self, body);
    if (body != NULL)
        frame = pn_frame_object((PyTypeObject *)self->frame_type,
                                &self->reader.frame, body);
    if (frame == NULL)
        (void)pn_reader_fail(&self->reader, PN_ENOMEM, "no memory");
    return frame;
}

PyObject *
pn_raise_protocol_error(PyTypeObject *type, PyObject *text, int status_code,
                        PyObject *frames)
{
    pn_state *state = text == NULL ? NULL : pn_state_of(type);
    PyObject *error = NULL, *code = NULL;
    if (state == NULL)
        goto done;
    error = PyObject_CallOneArg(state->protocol_error, text);
    if (error == NULL)
        goto done;
    if (status_code != 0) {
        code = PyLong_FromLong(status_code);
        if (code == NULL ||
            PyObject_SetAttrString(error, "status_code", code) < 0)
            goto done;
    }
    if (frames != NULL && PyObject_SetAttrString(error, "frames", frames) < 0)
        goto done;
    PyErr_SetObject(state->protocol_error, error);
done:
    Py_XDECREF(code);
    Py_XDECREF(error);
    Py_XDECREF(text);
    return NULL;
}

/* What is wrong, in words. */
static PyObject *
describe_failure(const pn_reader *reader)
{
    uint64_t length = reader->frame.length;
    uint64_t limit = reader->options.max_frame;
    if (reader->status != PN_ETOOBIG)
        return PyUnicode_FromString(reader->fault);
    if (length > limit)
        return PyUnicode_FromFormat("frame of %llu bytes, over the limit of "
                                    "%llu",
                                    (unsigned long long)length,
                                    (unsigned long long)limit);
    return PyUnicode_FromFormat(
        "message of %llu bytes or more, over the limit of %llu",
        (unsigned long long)(reader->message_size + length),
        (unsigned long long)reader->options.max_message);
}

/* Raise what the reader failed with. Nothing that came is kept. */
static PyObject *
raise_failure(FrameParserObject *self, PyObject *frames)
{
    int status = self->reader.status;
    Py_CLEAR(self->body);
    Py_CLEAR(self->chunk);
    if (status == PN_ENOMEM)
        return PyErr_NoMemory();
    int code = status == PN_ETOOBIG ? 1009 : status == PN_EUTF8 ? 1007 : 1002;
    return pn_raise_protocol_error(
        Py_TYPE(self), describe_failure(&self->reader), code, frames);
}

/* Read on in the input kept: what the reader says. */
static int
feed_kept(FrameParserObject *self)
{
    if (self->chunk == NULL)
        return pn_reader_feed(&self->reader, NULL, 0, &self->chunk_at);
    size_t size = (size_t)PyBytes_GET_SIZE(self->chunk), used;
    const uint8_t *data = (const uint8_t *)PyBytes_AS_STRING(self->chunk);
    int status = pn_reader_feed(&self->reader, data + self->chunk_at,
                                size - self->chunk_at, &used);
    self->chunk_at += used;
    if (self->chunk_at == size)
        Py_CLEAR(self->chunk);
    return status;
}

/* Keep in[from..) for later calls, behind what is kept already. Without
 * memory for it the reader fails. */
static int
keep(FrameParserObject *self, const pn_view *in, size_t from)
{
    size_t old = 0, new = in->len - from;
    if (self->chunk == NULL && !in->viewed) {
        self->chunk = Py_NewRef(in->object);
        self->chunk_at = from;
        return PN_OK;
    }
    if (self->chunk != NULL)
        old = (size_t)PyBytes_GET_SIZE(self->chunk) - self->chunk_at;
    PyObject *both = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(old + new));
    if (both == NULL) {
        PyErr_Clear();
        return pn_reader_fail(&self->reader, PN_ENOMEM, "no memory");
    }
    char *to = PyBytes_AS_STRING(both);
    if (old > 0)
        memcpy(to, PyBytes_AS_STRING(self->chunk) + self->chunk_at, old);
    memcpy(to + old, in->data + from, new);
    Py_XSETREF(self->chunk, both);
    self->chunk_at = 0;
    return PN_OK;
}

/* Feed what came until a frame is whole, and keep the rest. */
static int
feed_once(FrameParserObject *self, const pn_view *in)
{
    size_t used;
    if (self->chunk != NULL) {
        int err = keep(self, in, 0);
        return err < 0 ? err : feed_kept(self);
    }
    int status = pn_reader_feed(&self->reader, in->data, in->len, &used);
    if (status == PN_OK && used < in->len) {
        int err = keep(self, in, used);
        return err < 0 ? err : status;
    }
    return status;
}

const char pn_decode_doc[] = PyDoc_STR(
    "decode($self, data=None, /)\n--\n\n"
    "Take the bytes that came from the peer, and return the next\n"
    "whole Frame, or None if there is none yet.\n\n"
    "*data* is bytes or any contiguous buffer, of any size. One\n"
    "call gives one frame: go on calling without data until None.\n\n"
    "Raises ProtocolError, whose status_code is 1002 for a broken\n"
    "rule of RFC 6455, 1007 for text that is not UTF-8, 1009 for a\n"
    "frame or message over its limit. The parser then has failed:\n"
    "each later call raises the same.");

PyObject *
pn_frameparser_decode(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    FrameParserObject *self = (FrameParserObject *)op;
    int status;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError,
                     "decode() takes at most 1 argument, got %zd", nargs);
        return NULL;
    }
    if (nargs == 0 || args[0] == Py_None) {
        status = feed_kept(self);
    } else {
        pn_view in;
        if (pn_view_open(&in, args[0]) < 0)
            return NULL;
        status = feed_once(self, &in);
        pn_view_close(&in);
    }
    if (status < 0)
        return raise_failure(self, NULL);
    if (status == PN_MORE)
        Py_RETURN_NONE;
    PyObject *frame = take_frame(self);
    return frame != NULL ? frame : raise_failure(self, NULL);
}

/* Frames on their way to a list. Few need no list that grows. */
typedef struct {
    PyObject *list; /* those that did not fit, or NULL */
    size_t count;
    PyObject *frames[BATCH];
} batch;

/* Move what is in frames[] to the list. */
static int
flush(batch *out)
{
    if (out->list == NULL && (out->list = PyList_New(0)) == NULL)
        return -1;
    for (size_t i = 0; i < out->count; i++) {
        if (PyList_Append(out->list, out->frames[i]) < 0)
            return -1;
    }
    while (out->count > 0)
        Py_DECREF(out->frames[--out->count]);
    return 0;
}

/* All frames as a list; NULL with MemoryError. */
static PyObject *
take_list(batch *out)
{
    if (out->list != NULL)
        return flush(out) < 0 ? NULL : Py_NewRef(out->list);
    PyObject *list = PyList_New((Py_ssize_t)out->count);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < out->count; i++)
        PyList_SET_ITEM(list, (Py_ssize_t)i, out->frames[i]);
    out->count = 0;
    return list;
}

static void
drop_batch(batch *out)
{
    while (out->count > 0)
        Py_DECREF(out->frames[--out->count]);
    Py_XDECREF(out->list);
}

/* Add the frame that the reader has completed. */
static int
add_frame(FrameParserObject *self, batch *out)
{
    if (out->count == BATCH && flush(out) < 0) {
        PyErr_Clear();
        return pn_reader_fail(&self->reader, PN_ENOMEM, "no memory");
    }
    PyObject *frame = take_frame(self);
    if (frame == NULL)
        return PN_ENOMEM;
    out->frames[out->count++] = frame;
    return PN_OK;
}

static int
feed_all(FrameParserObject *self, const pn_view *in, batch *out)
{
    int status = PN_OK;
    while (status >= 0 && self->chunk != NULL) {
        status = feed_kept(self);
        if (status == PN_OK)
            status = add_frame(self, out);
    }
    size_t at = 0, used;
    while (status >= 0 && at < in->len) {
        status =
            pn_reader_feed(&self->reader, in->data + at, in->len - at, &used);
        at += used;
        if (status == PN_OK)
            status = add_frame(self, out);
    }
    return self->reader.state == PN_READER_FAILED ? self->reader.status
                                                  : status;
}

const char pn_decode_all_doc[] = PyDoc_STR(
    "decode_all($self, data, /)\n--\n\n"
    "Take the bytes that came from the peer, and return a list of\n"
    "all frames that are whole now, in order; it may be empty.\n\n"
    "*data* is bytes or any contiguous buffer, of any size. Several\n"
    "times as fast as decode() where many frames come at once.\n\n"
    "Raises what decode() raises, at once; the exception's\n"
    "attribute frames lists those that came before the error.");

PyObject *
pn_frameparser_decode_all(PyObject *op, PyObject *data)
{
    FrameParserObject *self = (FrameParserObject *)op;
    pn_view in;
    batch out;
    out.list = NULL;
    out.count = 0;
    if (pn_view_open(&in, data) < 0)
        return NULL;
    int status = feed_all(self, &in, &out);
    pn_view_close(&in);
    PyObject *list = take_list(&out);
    if (list != NULL && status < 0) {
        (void)raise_failure(self, list);
        Py_CLEAR(list);
    }
    drop_batch(&out);
    return list;
}
