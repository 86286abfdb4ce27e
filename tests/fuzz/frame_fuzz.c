/* Oracle: bytes that come one at a time are judged as all of them at once: a
 * header is cut short until it is whole or wrong, and stays what it is then.
 * What decodes is right, and encodes to the same bytes. */
#include "base/status.h"
#include "ws/frame.h"

#undef NDEBUG /* the oracle speaks in every build */
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pn_frame whole, frame;
    int end = pn_frame_decode(&whole, data, size);
    int status = PN_MORE;
    size_t len = 0;
    for (; len <= size && status == PN_MORE; len++)
        status = pn_frame_decode(&frame, data, len);
    assert(status == end);
    if (status != PN_OK)
        return 0;

    uint8_t out[PN_FRAME_HEADER_MAX];
    size_t head = frame.header_size;
    assert(head == len - 1);
    assert(pn_frame_check(&frame) == PN_OK);
    assert(pn_frame_header_size(&frame) == head);
    assert(pn_frame_encode_header(out, &frame) == head);
    assert(memcmp(out, data, head) == 0);
    assert(whole.header_size == head && whole.length == frame.length);
    assert(memcmp(whole.key, frame.key, 4) == 0);
    return 0;
}
