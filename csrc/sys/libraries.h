/* The shared libraries of this process. */
#ifndef PN_SYS_LIBRARIES_H
#define PN_SYS_LIBRARIES_H

#include <stdint.h>

/* How many the loader has ever added to this process; it grows only. 0 where
 * the loader does not tell. Any thread. */
uint64_t pn_libraries_added(void);

#endif
