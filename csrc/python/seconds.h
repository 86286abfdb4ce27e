/* Times of Python, float seconds, as nanoseconds of the engine. */
#ifndef PN_PYTHON_SECONDS_H
#define PN_PYTHON_SECONDS_H

#include "python/state.h"

#include <math.h>
#include <stdint.h>

/* So many seconds have room in 63 bits of nanoseconds, twice. */
#define PN_MAX_SECONDS 4e9

/* 0, or -1 with ValueError. */
static inline int
pn_nanoseconds(double seconds, int64_t *out)
{
    if (!(fabs(seconds) <= PN_MAX_SECONDS)) {
        PyErr_SetString(PyExc_ValueError, "not a number of seconds");
        return -1;
    }
    *out = llround(seconds * 1e9);
    return 0;
}

#endif
