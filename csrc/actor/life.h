/* One actor's life, as who manages it sees it. Events in, actions out; time
 * is an argument. Values only, of one thread.
 *
 *                  heard           silent            still silent
 *      STARTING ──────────► RUNNING ──────► SILENT ───────────────┐
 *          │ too late          │ stop asked   (heard: RUNNING)    │
 *          │                   ▼                                  ▼
 *          │                DRAINING ──────────────────────► STOPPING
 *          ▼                                                      │
 *       KILLING ◄──────────────── TERMINATING ◄───────────────────┘
 *          │ unkillable
 *          ▼                   exited, from anywhere
 *        GONE ◄──────────────────────────────────────────
 *
 * Silence is judged twice, with two seconds between: who manages it looks
 * first whether it is busy, which is no silence. A look that comes much later
 * than it was due says that this process was held up, and excuses everybody.
 *
 * Events that make no sense in a state are ignored. Times lie within 4e18
 * ns of 0, on either side.
 *   - due is INT64_MAX or the next time at which tick does something;
 *   - an actor is orphaned at most once, and forgotten at most once. */
#ifndef PN_ACTOR_LIFE_H
#define PN_ACTOR_LIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    PN_LIFE_STARTING,
    PN_LIFE_RUNNING,
    PN_LIFE_SILENT,      /* its stacks are being taken */
    PN_LIFE_DRAINING,    /* it was asked to stop once its work is done */
    PN_LIFE_STOPPING,    /* it was asked to stop, or said that it does */
    PN_LIFE_TERMINATING, /* it has SIGTERM */
    PN_LIFE_KILLING,     /* it has SIGKILL */
    PN_LIFE_GONE,
} pn_life_state;

typedef enum {
    PN_LIFE_LOOK,         /* see whether it is busy, tell pn_life_look */
    PN_LIFE_CAPTURE,      /* take its stacks */
    PN_LIFE_ASK_STOP,     /* ask it to stop without draining */
    PN_LIFE_ASK_DRAIN,    /* ask it to drain, then to stop */
    PN_LIFE_HUNG,         /* it was silent for too long: that is the reason */
    PN_LIFE_TERMINATE,    /* SIGTERM */
    PN_LIFE_KILL,         /* SIGKILL */
    PN_LIFE_START_FAILED, /* it did not start in time */
    PN_LIFE_ORPHANED,     /* its link is gone and it lives on */
    PN_LIFE_FORGET,       /* it cannot be killed: count it as ended */
    PN_LIFE_END,          /* it has exited, and no end of its link came */
} pn_life_do;

/* All in nanoseconds, 0 or more. */
typedef struct {
    int64_t spawn;     /* from the start to the handshake */
    int64_t silence;   /* without a sign of life; 0: any time */
    int64_t exit;      /* from the request to stop to SIGTERM; to SIGKILL, if
                        * SIGTERM is the first request */
    int64_t terminate; /* from SIGTERM to SIGKILL, else */
    int64_t kill;      /* from that to giving up */
    int64_t link;      /* between the end of a link and that of its process */
} pn_life_limits;

typedef struct {
    pn_life_limits limits;
    pn_life_state state;
    int64_t due;
    int64_t heard;     /* its latest sign of life */
    int64_t orphan_at; /* INT64_MAX: its link has not ended, or that is said */
    bool leaves;       /* it has said its last words */
    bool unlinked;     /* its link has ended */
} pn_life;

/* What an event asks for, in order. */
typedef struct {
    size_t count;
    pn_life_do what[3];
} pn_life_actions;

void pn_life_init(pn_life *life, const pn_life_limits *limits, int64_t now);

/* A handshake or a heartbeat. */
void pn_life_heard(pn_life *life, int64_t now);

/* Whether it was busy, or has moved since the last look. */
void pn_life_look(pn_life *life, bool busy, int64_t now, pn_life_actions *out);

/* It is to stop; it may drain for so long, if that is above 0. Again without:
 * it is not to drain any more. */
void pn_life_stop(pn_life *life, int64_t drain, int64_t now,
                  pn_life_actions *out);

/* It stops, and has to wait for others that do: SIGTERM not before then. */
void pn_life_waits(pn_life *life, int64_t until);

/* It is to end now. */
void pn_life_kill(pn_life *life, int64_t now, pn_life_actions *out);

/* It has said its last words. */
void pn_life_leaves(pn_life *life, int64_t now);

/* Its link has ended. */
void pn_life_unlinked(pn_life *life, int64_t now);

/* It has exited, and its link has not ended. */
void pn_life_exited(pn_life *life, int64_t now);

void pn_life_tick(pn_life *life, int64_t now, pn_life_actions *out);

static inline int64_t
pn_life_due(const pn_life *life)
{
    return life->due < life->orphan_at ? life->due : life->orphan_at;
}

/* For tests: whether the invariants above hold. */
bool pn_life_check(const pn_life *life);

#endif
