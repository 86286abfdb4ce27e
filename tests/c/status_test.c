#include "base/status.h"
#include "check.h"

#include <errno.h>

static void
test_every_code_has_its_own_text(void)
{
    for (int code = PN_EAUTH; code <= PN_ENOMEM; code++) {
        CHECK(strcmp(pn_status_text(code), "unknown status") != 0);
        for (int other = PN_EAUTH; other < code; other++)
            CHECK(strcmp(pn_status_text(code), pn_status_text(other)) != 0);
    }
}

static void
test_negated_errno_has_the_systems_text(void)
{
    CHECK(strcmp(pn_status_text(-EPIPE), "Broken pipe") == 0);
}

static void
test_nonsense_is_unknown(void)
{
    CHECK(strcmp(pn_status_text(-4999), "unknown status") == 0);
}

int
main(void)
{
    RUN(test_every_code_has_its_own_text);
    RUN(test_negated_errno_has_the_systems_text);
    RUN(test_nonsense_is_unknown);
    return 0;
}
