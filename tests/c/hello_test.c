#include "base/status.h"
#include "check.h"
#include "mailbox/hello.h"

static const pn_hello ours = {
    .wire = PN_WIRE_VERSION,
    .python = 3 * 256 + 12,
    .features = 5,
    .package = "1.2.3",
};

static void
test_what_is_encoded_is_decoded(void)
{
    uint8_t bytes[PN_HELLO_SIZE];
    pn_hello got;
    pn_hello_encode(&ours, bytes);
    CHECK_INT(pn_hello_decode(&got, bytes, sizeof bytes), PN_OK);
    CHECK_INT(got.wire, ours.wire);
    CHECK_INT(got.python, ours.python);
    CHECK_INT(got.features, ours.features);
    CHECK(strcmp(got.package, "1.2.3") == 0);
}

static void
test_strangers_are_refused(void)
{
    uint8_t bytes[PN_HELLO_SIZE];
    pn_hello got;
    pn_hello_encode(&ours, bytes);
    CHECK_INT(pn_hello_decode(&got, bytes, sizeof bytes - 1), PN_EPROTO);
    bytes[0] ^= 1;
    CHECK_INT(pn_hello_decode(&got, bytes, sizeof bytes), PN_EPROTO);
}

static void
test_package_text_is_always_ended(void)
{
    uint8_t bytes[PN_HELLO_SIZE];
    pn_hello got;
    pn_hello_encode(&ours, bytes);
    memset(bytes + 12, 'x', 20);
    CHECK_INT(pn_hello_decode(&got, bytes, sizeof bytes), PN_OK);
    CHECK_INT(strlen(got.package), sizeof got.package - 1);
}

static void
test_other_wire_or_python_do_not_agree(void)
{
    pn_hello theirs = ours;
    CHECK_INT(pn_hello_agree(&ours, &theirs), PN_OK);
    strcpy(theirs.package, "9.9");
    CHECK_INT(pn_hello_agree(&ours, &theirs), PN_OK);
    theirs.python++;
    CHECK_INT(pn_hello_agree(&ours, &theirs), PN_EVERSION);
    theirs = ours;
    theirs.wire++;
    CHECK_INT(pn_hello_agree(&ours, &theirs), PN_EVERSION);
}

int
main(void)
{
    RUN(test_what_is_encoded_is_decoded);
    RUN(test_strangers_are_refused);
    RUN(test_package_text_is_always_ended);
    RUN(test_other_wire_or_python_do_not_agree);
    return 0;
}
