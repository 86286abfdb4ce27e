/* The interpreter's memory for small objects, for a process that is about to
 * fork others. */
#ifndef PN_PYTHON_POOLS_H
#define PN_PYTHON_POOLS_H

/* Take what is free in pools that hold objects, for ever: objects that are
 * made later lie in pools of their own, side by side, so that a forked child
 * writes to few pages instead of many. */
void pn_pools_fill(void);

#endif
