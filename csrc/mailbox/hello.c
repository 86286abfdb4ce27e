#include "mailbox/hello.h"

#include "base/status.h"

#include <endian.h>
#include <string.h>

static const char magic[4] = {'P', 'N', 'A', 'T'};

/* Little endian, no holes. */
typedef struct {
    char magic[4];
    uint16_t wire;
    uint16_t python;
    uint32_t features;
    char package[20];
} wire_hello;

_Static_assert(sizeof(wire_hello) == PN_HELLO_SIZE, "no holes");

void
pn_hello_encode(const pn_hello *hello, uint8_t out[PN_HELLO_SIZE])
{
    wire_hello wire = {
        .wire = htole16(hello->wire),
        .python = htole16(hello->python),
        .features = htole32(hello->features),
    };
    memcpy(wire.magic, magic, sizeof magic);
    memcpy(wire.package, hello->package, sizeof wire.package);
    memcpy(out, &wire, sizeof wire);
}

int
pn_hello_decode(pn_hello *out, const uint8_t *bytes, size_t len)
{
    wire_hello wire;
    if (len < sizeof wire)
        return PN_EPROTO;
    memcpy(&wire, bytes, sizeof wire);
    if (memcmp(wire.magic, magic, sizeof magic) != 0)
        return PN_EPROTO;
    *out = (pn_hello){
        .wire = le16toh(wire.wire),
        .python = le16toh(wire.python),
        .features = le32toh(wire.features),
    };
    memcpy(out->package, wire.package, sizeof out->package);
    out->package[sizeof out->package - 1] = '\0';
    return PN_OK;
}

int
pn_hello_agree(const pn_hello *ours, const pn_hello *theirs)
{
    if (ours->wire != theirs->wire || ours->python != theirs->python)
        return PN_EVERSION;
    return PN_OK;
}
