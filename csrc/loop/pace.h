/* When a loop looks at its descriptors. While there are things to call a look
 * at each turn would cost more than they do, so turns go by without one; yet
 * no descriptor waits longer than a bound. Time is an argument; loop thread
 * only. */
#ifndef PN_LOOP_PACE_H
#define PN_LOOP_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* Turns without a look, and their time, at most. */
#define PN_PACE_TURNS 32
#define PN_PACE_NS 250000

typedef struct {
    int64_t looked; /* when; 0: look at once */
    int turns;      /* since then */
} pn_pace;

/* Have the next turn look. */
void pn_pace_hurry(pn_pace *pace);

/* Whether a turn that has something to call, and begins at that time, looks
 * before. */
bool pn_pace_is_due(pn_pace *pace, int64_t now);

/* A turn has looked, at that time. */
void pn_pace_looked(pn_pace *pace, int64_t now);

#endif
