#include "ws/reader.h"

#include "base/status.h"
#include "ws/mask.h"

#include <string.h>

void
pn_reader_init(pn_reader *reader, const pn_reader_options *options)
{
    memset(reader, 0, sizeof *reader);
    reader->options = *options;
}

int
pn_reader_fail(pn_reader *reader, int status, const char *fault)
{
    reader->state = PN_READER_FAILED;
    reader->status = status;
    reader->fault = fault;
    return status;
}

/* Why pn_frame_decode refused these bytes. */
static const char *
header_fault(const uint8_t *buf)
{
    uint8_t opcode = buf[0] & 0xf;
    if ((buf[0] & 0x70) != 0)
        return "reserved bits are set";
    if (!pn_frame_opcode_is_known(opcode))
        return "reserved opcode";
    if (pn_frame_is_control(opcode))
        return (buf[0] & 0x80) == 0 ? "fragmented control frame"
                                    : "control frame over 125 bytes";
    return "length not in its shortest form, or over 2**63 - 1";
}

/* Check the payload of a close frame: empty, or a code of the wire and a
 * reason in UTF-8. PN_OK, PN_EPROTO, or PN_EUTF8 for the reason. */
static int
check_close(const uint8_t *payload, size_t len)
{
    if (len == 0)
        return PN_OK;
    if (len == 1)
        return PN_EPROTO;
    unsigned code = (unsigned)payload[0] << 8 | payload[1];
    if (!pn_frame_close_code_is_valid(code))
        return PN_EPROTO;
    pn_utf8 utf8 = {0};
    size_t bad;
    int err = pn_utf8_feed(&utf8, payload + 2, len - 2, &bad);
    if (err < 0)
        return err;
    return pn_utf8_is_whole(&utf8) ? PN_OK : PN_EUTF8;
}

/* The mask bit stands in the second byte: judged before the rest is there. */
static int
check_mask(pn_reader *reader, const uint8_t *head, size_t len)
{
    if (len < 2 || ((head[1] & 0x80) != 0) == reader->options.masked)
        return PN_OK;
    return pn_reader_fail(reader, PN_EPROTO,
                          reader->options.masked
                              ? "plain frame where masks are due"
                              : "masked frame where none is due");
}

static int
check_size(pn_reader *reader)
{
    uint64_t length = reader->frame.length;
    if (pn_frame_is_control(reader->frame.opcode))
        return PN_OK;
    if (length > reader->options.max_frame)
        return pn_reader_fail(reader, PN_ETOOBIG, "frame over the size limit");
    uint64_t left = reader->options.max_message - reader->message_size;
    if (length > left)
        return pn_reader_fail(reader, PN_ETOOBIG,
                              "message over the size limit");
    reader->message_size += length;
    return PN_OK;
}

/* Whether this frame may come now. Starts a message if it is the first. */
static int
check_order(pn_reader *reader)
{
    uint8_t opcode = reader->frame.opcode;
    if (pn_frame_is_control(opcode))
        return PN_OK;
    if (opcode == PN_OP_CONTINUATION)
        return reader->message != 0
                   ? PN_OK
                   : pn_reader_fail(reader, PN_EPROTO,
                                    "continuation of no message");
    if (reader->message != 0)
        return pn_reader_fail(reader, PN_EPROTO, "message inside a message");
    reader->message = opcode;
    reader->message_size = 0;
    memset(&reader->utf8, 0, sizeof reader->utf8);
    return PN_OK;
}

/* The header is known: judge it, and find room for the body. */
static int
begin_body(pn_reader *reader)
{
    int err = check_order(reader);
    if (err == PN_OK)
        err = check_size(reader);
    if (err < 0)
        return err;
    reader->head_size = 0;
    reader->filled = 0;
    reader->body = NULL;
    reader->state = PN_READER_BODY;
    if (reader->frame.length == 0)
        return PN_OK;
    if (reader->frame.length <= SIZE_MAX)
        reader->body =
            reader->options.room(reader->options.context, &reader->frame);
    if (reader->body == NULL)
        return pn_reader_fail(reader, PN_ENOMEM, "no memory for a body");
    return PN_OK;
}

/* Decode the header at head, judged from its first bytes on. The mask bit
 * comes before an extended length, so a wrong one is the first fault. */
static int
decode_header(pn_reader *reader, const uint8_t *head, size_t len)
{
    pn_frame start;
    int err = pn_frame_decode(&reader->frame, head, len);
    if (err < 0 && pn_frame_decode(&start, head, len < 2 ? len : 2) < 0)
        return pn_reader_fail(reader, err, header_fault(head));
    int mask = check_mask(reader, head, len);
    if (mask < 0)
        return mask;
    return err < 0 ? pn_reader_fail(reader, err, header_fault(head)) : err;
}

/* Complete a header whose first bytes came earlier, or keep what comes. */
static int
gather_header(pn_reader *reader, const uint8_t *buf, size_t len, size_t *used)
{
    size_t had = reader->head_size;
    size_t room = PN_FRAME_HEADER_MAX - had;
    size_t taken = len < room ? len : room;
    memcpy(reader->head + had, buf, taken);
    int err = decode_header(reader, reader->head, had + taken);
    if (err == PN_MORE)
        reader->head_size = (uint8_t)(had + taken);
    *used = err == PN_OK ? reader->frame.header_size - had : taken;
    return err;
}

static int
feed_header(pn_reader *reader, const uint8_t *buf, size_t len, size_t *used)
{
    int err = PN_MORE;
    *used = 0;
    if (reader->head_size == 0 && len > 0) {
        err = decode_header(reader, buf, len);
        if (err == PN_OK)
            *used = reader->frame.header_size;
    }
    if (err == PN_MORE)
        err = gather_header(reader, buf, len, used);
    return err == PN_OK ? begin_body(reader) : err;
}

/* Text is judged as it comes: body[from..filled) is new. */
static int
check_text(pn_reader *reader, uint64_t from)
{
    size_t bad;
    int err = pn_utf8_feed(&reader->utf8, reader->body + from,
                           (size_t)(reader->filled - from), &bad);
    return err < 0 ? pn_reader_fail(reader, err, "text that is not UTF-8")
                   : PN_OK;
}

/* The frame is whole: judge what only then can be. */
static int
end_frame(pn_reader *reader)
{
    const pn_frame *frame = &reader->frame;
    reader->state = PN_READER_HEADER;
    if (frame->opcode == PN_OP_CLOSE) {
        int err = check_close(reader->body, (size_t)frame->length);
        if (err < 0)
            return pn_reader_fail(reader, err,
                                  err == PN_EUTF8
                                      ? "close reason that is not UTF-8"
                                      : "close frame with a wrong code");
    }
    if (pn_frame_is_control(frame->opcode) || !frame->final)
        return PN_OK;
    bool cut =
        reader->message == PN_OP_TEXT && !pn_utf8_is_whole(&reader->utf8);
    reader->message = 0;
    if (cut)
        return pn_reader_fail(reader, PN_EUTF8,
                              "text that ends amid a character");
    return PN_OK;
}

static int
feed_body(pn_reader *reader, const uint8_t *buf, size_t len, size_t *used)
{
    const pn_frame *frame = &reader->frame;
    uint64_t from = reader->filled, missing = frame->length - from;
    size_t taken = missing < len ? (size_t)missing : len;
    *used = taken;
    if (taken > 0) {
        if (frame->masked)
            pn_mask_copy(reader->body + from, buf, taken, frame->key,
                         (size_t)from);
        else
            memcpy(reader->body + from, buf, taken);
        reader->filled += taken;
        if (reader->message == PN_OP_TEXT &&
            !pn_frame_is_control(frame->opcode)) {
            int err = check_text(reader, from);
            if (err < 0)
                return err;
        }
    }
    return taken == missing ? end_frame(reader) : PN_MORE;
}

int
pn_reader_feed(pn_reader *reader, const uint8_t *buf, size_t len, size_t *used)
{
    size_t head = 0, body = 0;
    int err = PN_OK;
    if (reader->state == PN_READER_FAILED)
        err = reader->status;
    else if (len == 0)
        err = PN_MORE;
    if (err == PN_OK && reader->state == PN_READER_HEADER)
        err = feed_header(reader, buf, len, &head);
    if (err == PN_OK)
        err = feed_body(reader, buf + head, len - head, &body);
    *used = head + body;
    return err;
}
