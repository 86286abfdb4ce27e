/* One supervisor: when its children are started, stopped and started again.
 * Events in, actions out; no clock, no chance (both are arguments), no I/O.
 *
 * Children stand in the order in which they were added. Some may share a
 * rank: what stops or starts in order does so rank by rank, all of a rank at
 * once, the next one when none of it is awaited any more. After a restart a
 * child has its old place.
 *
 * An event that makes no sense for a child's state is ignored, so that late
 * news does no harm. Under one_for_one each costs O(log n) at most; a restart
 * of a group costs O(n).
 *
 * What has ended of its own accord, and is not to be restarted, stays so when
 * its group is restarted. A temporary child stops with its group and does not
 * come back.
 *
 * Memory is taken by init and add alone. One thread.
 *   - ranks never fall along the list;
 *   - children of the agenda are those that wait, each for its own time;
 *   - `awaited` is how many children have their flag of that name: those that
 *     stop by order of the phase, or start by it;
 *   - children are held only while a group restarts: while it stops or waits,
 *     of rank `from` or later; while it starts, of ranks still to come. */
#ifndef PN_ACTOR_RESTARTS_H
#define PN_ACTOR_RESTARTS_H

#include "actor/agenda.h"
#include "actor/intensity.h"
#include "base/map.h"

typedef enum {
    PN_ONE_FOR_ONE,  /* only what has ended is restarted */
    PN_ONE_FOR_ALL,  /* and all the others are stopped before, and restarted */
    PN_REST_FOR_ONE, /* or those of later ranks */
} pn_strategy;

typedef enum {
    PN_TEMPORARY, /* never restarted */
    PN_TRANSIENT, /* unless its end was a normal one */
    PN_PERMANENT, /* always */
} pn_restart;

typedef enum {
    PN_CHILD_IDLE,     /* never started */
    PN_CHILD_STARTING, /* it is being started */
    PN_CHILD_UP,
    PN_CHILD_STOPPING, /* it was asked to stop */
    PN_CHILD_WAITING,  /* for the time of its restart */
    PN_CHILD_HELD,     /* for its turn in a group */
    PN_CHILD_ENDED,    /* and nothing will start it but start or again */
} pn_child_state;

typedef enum {
    PN_SUP_OPEN,
    PN_SUP_GROUP_STOP,  /* later ranks first */
    PN_SUP_GROUP_WAIT,  /* until group_due */
    PN_SUP_GROUP_START, /* earlier ranks first */
    PN_SUP_ENDING,      /* all stop, later ranks first */
    PN_SUP_CLOSED,
} pn_sup_phase;

typedef enum {
    PN_DO_START,    /* start this child; then tell up or down */
    PN_DO_STOP,     /* stop this child; then tell down */
    PN_DO_WAIT,     /* nothing: it will be started in `delay` ns, if no other
                     * child delays it */
    PN_DO_ESCALATE, /* this child's end was one too many: all stop */
    PN_DO_STOPPED,  /* all have stopped, it is over; of no child */
} pn_sup_do;

typedef struct {
    pn_sup_do what;
    uint64_t id; /* of the child, or 0 */
    int64_t delay;
} pn_sup_action;

typedef struct {
    pn_strategy strategy;
    uint32_t max_restarts; /* at most PN_MAX_RESTARTS */
    int64_t within;        /* ns, above 0: more in that time escalates */
    int64_t backoff;       /* ns, of the first restart; doubled by each next */
    int64_t backoff_max;   /* ns; not below backoff */
} pn_restarts_rules;

typedef struct pn_child {
    pn_timed timed; /* first, so that the agenda's entry is the child */
    struct pn_child *previous;
    struct pn_child *next;
    uint64_t id;
    uint64_t rank;
    uint64_t starts;   /* how often it was started */
    uint32_t attempts; /* restarts since it was last calm */
    int64_t up_since;
    pn_restart restart;
    pn_child_state state;
    pn_child_state after; /* of a stopping one: ended, held, or starting */
    bool awaited;
} pn_child;

typedef struct {
    pn_restarts_rules rules;
    pn_sup_phase phase;
    pn_map children; /* id -> pn_child, owned */
    pn_child *first;
    pn_child *last;
    pn_child *at;  /* the next rank that the phase looks at is this one's */
    uint64_t from; /* of a group: ranks above it stop */
    uint64_t rank; /* of a group that starts: the latest that has begun */
    size_t awaited;
    int64_t group_due;
    pn_agenda agenda;
    pn_intensity intensity;
    uint64_t next_id;
    uint64_t next_rank;
    pn_sup_action *actions; /* of the last event */
    size_t action_count;
    size_t action_capacity;
} pn_restarts;

/* PN_OK, or PN_ENOMEM with nothing to free. */
int pn_restarts_init(pn_restarts *sup, const pn_restarts_rules *rules);
void pn_restarts_free(pn_restarts *sup);

/* Add a child, idle, as the last one, or with the rank of another (0: none;
 * unknown counts as none). PN_OK with its id, PN_ENOMEM and nothing. */
int pn_restarts_add(pn_restarts *sup, pn_restart restart, uint64_t beside,
                    uint64_t *id);

/* Forget a child that does not run; false for one that does. Gives no
 * actions. */
bool pn_restarts_remove(pn_restarts *sup, pn_child *child);

/* The child, or NULL. */
pn_child *pn_restarts_child(const pn_restarts *sup, uint64_t id);

/* Each of the following is an event; the actions of it are in actions,
 * action_count, until the next one. Do them in order. */

/* Start it, if it is idle or has ended. While its group restarts it waits for
 * its turn. Nothing once all are stopping. */
void pn_restarts_start(pn_restarts *sup, pn_child *child);

/* Stop it, for good. */
void pn_restarts_halt(pn_restarts *sup, pn_child *child);

/* Stop it and start it again, at once and without counting it; one that
 * waits is started now. */
void pn_restarts_again(pn_restarts *sup, pn_child *child);

/* It runs. */
void pn_restarts_up(pn_restarts *sup, pn_child *child, int64_t now);

/* It has ended, or could not be started; random is any 64 bits. A restart
 * waits half of its backoff and a random part of the other half. The backoff
 * is that of the first restart again for a child that was up for `within`. */
void pn_restarts_down(pn_restarts *sup, pn_child *child, bool abnormal,
                      int64_t now, uint64_t random);

/* Stop all. */
void pn_restarts_stop(pn_restarts *sup);

/* It is that late. */
void pn_restarts_tick(pn_restarts *sup, int64_t now);

/* The next time at which tick does something; INT64_MAX: none. It may have
 * passed. */
int64_t pn_restarts_due(const pn_restarts *sup);

/* For tests: whether the invariants above hold. */
bool pn_restarts_check(const pn_restarts *sup);

#endif
