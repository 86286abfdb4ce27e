/* Oracle: feeding bytes one at a time, or in pieces, changes nothing: the
 * same frames come in the same order and end in the same status. The first
 * byte chooses masks and limits; the rest is the stream. */
#include "base/alloc.h"
#include "base/status.h"
#include "ws/reader.h"

#undef NDEBUG /* the oracle speaks in every build */
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, as a hash (FNV-1a), and how it ended. */
typedef struct {
    pn_reader reader;
    uint8_t *body;
    uint64_t hash;
    size_t frames;
    int status;
} session;

static void
note(session *s, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        s->hash = (s->hash ^ bytes[i]) * 0x100000001b3u;
}

static uint8_t *
give_room(void *context, const pn_frame *frame)
{
    session *s = context;
    assert(s->body == NULL);
    assert(frame->length > 0 && frame->length <= 5000);
    s->body = pn_alloc((size_t)frame->length);
    return s->body;
}

static void
note_frame(session *s)
{
    const pn_frame *frame = &s->reader.frame;
    assert(pn_frame_check(frame) == PN_OK);
    assert(s->reader.body == s->body);
    assert(frame->masked == s->reader.options.masked);
    uint8_t head[PN_FRAME_HEADER_MAX];
    note(s, head, pn_frame_encode_header(head, frame));
    note(s, s->body, (size_t)frame->length);
    pn_free(s->body);
    s->body = NULL;
    s->frames++;
}

static void
feed(session *s, const uint8_t *data, size_t size)
{
    do {
        size_t used;
        s->status = pn_reader_feed(&s->reader, data, size, &used);
        assert(used <= size);
        assert(s->status != PN_MORE || used == size);
        if (s->status == PN_OK)
            note_frame(s);
        data += used;
        size -= used;
    } while (s->status == PN_OK);
}

static session
read_in_pieces(uint8_t choice, const uint8_t *data, size_t size, size_t piece)
{
    session s = {.hash = 0xcbf29ce484222325u, .status = PN_MORE};
    pn_reader_init(&s.reader, &(pn_reader_options){
                                  .room = give_room,
                                  .context = &s,
                                  .max_frame = choice & 2 ? 200 : 5000,
                                  .max_message = choice & 4 ? 300 : 10000,
                                  .masked = choice & 1,
                              });
    while (size > 0 && s.status == PN_MORE) {
        size_t now = piece < size ? piece : size;
        feed(&s, data, now);
        data += now;
        size -= now;
    }
    pn_free(s.body);
    assert((s.status < 0) == (s.reader.state == PN_READER_FAILED));
    assert((s.status < 0) == (s.reader.fault != NULL));
    return s;
}

static void
check_same(const session *a, const session *b)
{
    assert(a->status == b->status && a->frames == b->frames);
    assert(a->hash == b->hash);
    assert(a->reader.fault == b->reader.fault);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t choice = *data++;
    size--;
    session whole = read_in_pieces(choice, data, size, SIZE_MAX);
    session bytes = read_in_pieces(choice, data, size, 1);
    check_same(&whole, &bytes);
    for (size_t piece = 3; piece < size; piece *= 5) {
        session pieces = read_in_pieces(choice, data, size, piece);
        check_same(&whole, &pieces);
    }
    return 0;
}
