/* The heap of the C library, for a process that is about to fork others. */
#ifndef PN_SYS_HEAP_H
#define PN_SYS_HEAP_H

#include <stddef.h>

/* Take what is free between the blocks in use, for ever: later blocks come
 * from the heap's end and lie side by side, so that a forked child writes to
 * few pages instead of many. The bytes that were taken; 0 where malloc is
 * not the one of glibc. For a process with one thread. */
size_t pn_heap_fill(void);

#endif
