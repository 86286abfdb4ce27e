/* The one clock of the package: monotonic, in nanoseconds. */
#ifndef PN_SYS_CLOCK_H
#define PN_SYS_CLOCK_H

#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC; never fails on Linux. */
int64_t pn_clock_now(void);

#endif
