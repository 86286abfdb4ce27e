/* A fuse: ends this process at a moment, unless it is put out before. For
 * work that nothing else can end, for it neither returns nor looks.
 *
 * Two timers of the kernel, made at the first use: one sends a signal whose
 * handler tells what the process is at, the other SIGKILL a little later.
 * Neither is inherited by a forked child, nor kept by a new program.
 *
 * Invariant: a fuse that does not burn sends nothing, whatever burnt before.
 * One thread at a time. */
#ifndef PN_SYS_FUSE_H
#define PN_SYS_FUSE_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* From the signal to the end. */
#define PN_FUSE_TELL_NS 20000000

/* All zeros: not made yet. */
typedef struct {
    timer_t tell;
    timer_t kill;
    int signal; /* that `tell` sends */
    pid_t made; /* by this process; 0: not made. A child of it has no such
                 * timers, but may have some of their numbers */
} pn_fuse;

/* Have the process end at due, monotonic ns, or at once if that has passed;
 * signal, which must not be another one than before, is sent then if it is
 * handled, and SIGKILL PN_FUSE_TELL_NS later. 0, or -errno with nothing lit.
 */
int pn_fuse_light(pn_fuse *fuse, int64_t due, int signal);

/* It is not to end. Does no harm if nothing burns. */
void pn_fuse_put_out(pn_fuse *fuse);

/* Give the timers back, put out. */
void pn_fuse_free(pn_fuse *fuse);

#endif
