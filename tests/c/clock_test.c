#include "check.h"
#include "sys/clock.h"

static void
test_time_never_goes_back(void)
{
    int64_t last = pn_clock_now();
    CHECK(last > 0);
    for (int i = 0; i < 1000; i++) {
        int64_t now = pn_clock_now();
        CHECK(now >= last);
        last = now;
    }
}

int
main(void)
{
    RUN(test_time_never_goes_back);
    return 0;
}
