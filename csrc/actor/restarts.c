#include "actor/restarts.h"

#include "base/alloc.h"
#include "base/status.h"

/* --- life --- */

int
pn_restarts_init(pn_restarts *sup, const pn_restarts_rules *rules)
{
    *sup = (pn_restarts){.rules = *rules, .next_id = 1, .next_rank = 1};
    sup->action_capacity = 2;
    sup->actions = pn_alloc(sup->action_capacity * sizeof *sup->actions);
    if (sup->actions == NULL)
        return PN_ENOMEM;
    int err =
        pn_intensity_init(&sup->intensity, rules->max_restarts, rules->within);
    if (err < 0) {
        pn_free(sup->actions);
        *sup = (pn_restarts){0};
    }
    return err;
}

void
pn_restarts_free(pn_restarts *sup)
{
    for (pn_child *child = sup->first, *next; child != NULL; child = next) {
        next = child->next;
        pn_free(child);
    }
    pn_map_free(&sup->children);
    pn_agenda_free(&sup->agenda);
    pn_intensity_free(&sup->intensity);
    pn_free(sup->actions);
    *sup = (pn_restarts){0};
}

/* An event gives each child one action at most, and two of no child. */
static int
reserve_actions(pn_restarts *sup, size_t children)
{
    if (children + 2 <= sup->action_capacity)
        return PN_OK;
    size_t capacity = 2 * (children + 2);
    void *larger = pn_realloc(sup->actions, capacity * sizeof *sup->actions);
    if (larger == NULL)
        return PN_ENOMEM;
    sup->actions = larger;
    sup->action_capacity = capacity;
    return PN_OK;
}

/* After `before`, which may be NULL: as the first one. */
static void
link_child(pn_restarts *sup, pn_child *child, pn_child *before)
{
    child->previous = before;
    child->next = before == NULL ? sup->first : before->next;
    *(before == NULL ? &sup->first : &before->next) = child;
    *(child->next == NULL ? &sup->last : &child->next->previous) = child;
}

int
pn_restarts_add(pn_restarts *sup, pn_restart restart, uint64_t beside,
                uint64_t *id)
{
    size_t count = sup->children.count + 1;
    pn_child *other = pn_restarts_child(sup, beside);
    pn_child *child = pn_alloc_zeroed(1, sizeof *child);
    if (child == NULL)
        return PN_ENOMEM;
    *child = (pn_child){.timed = PN_UNTIMED,
                        .id = sup->next_id,
                        .restart = restart,
                        .state = PN_CHILD_IDLE};
    if (reserve_actions(sup, count) < 0 ||
        pn_agenda_reserve(&sup->agenda, count) < 0 ||
        pn_map_put(&sup->children, child->id, child) < 0) {
        pn_free(child);
        return PN_ENOMEM;
    }
    child->rank = other == NULL ? sup->next_rank++ : other->rank;
    link_child(sup, child, other == NULL ? sup->last : other);
    *id = sup->next_id++;
    return PN_OK;
}

pn_child *
pn_restarts_child(const pn_restarts *sup, uint64_t id)
{
    return pn_map_get(&sup->children, id);
}

static bool
goes_up(const pn_restarts *sup)
{
    return sup->phase == PN_SUP_GROUP_START;
}

bool
pn_restarts_remove(pn_restarts *sup, pn_child *child)
{
    if (child->state == PN_CHILD_STARTING || child->state == PN_CHILD_UP ||
        child->state == PN_CHILD_STOPPING)
        return false;
    if (sup->at == child)
        sup->at = goes_up(sup) ? child->next : child->previous;
    *(child->previous == NULL ? &sup->first : &child->previous->next) =
        child->next;
    *(child->next == NULL ? &sup->last : &child->next->previous) =
        child->previous;
    pn_agenda_drop(&sup->agenda, &child->timed);
    (void)pn_map_take(&sup->children, child->id);
    pn_free(child);
    return true;
}

/* --- single steps --- */

static void
emit(pn_restarts *sup, pn_sup_do what, const pn_child *child, int64_t delay)
{
    sup->actions[sup->action_count++] = (pn_sup_action){
        .what = what, .id = child == NULL ? 0 : child->id, .delay = delay};
}

static void
stop_awaiting(pn_restarts *sup, pn_child *child)
{
    sup->awaited -= child->awaited;
    child->awaited = false;
}

static void
await_child(pn_restarts *sup, pn_child *child)
{
    sup->awaited += !child->awaited;
    child->awaited = true;
}

static void
become(pn_restarts *sup, pn_child *child, pn_child_state state)
{
    stop_awaiting(sup, child);
    pn_agenda_drop(&sup->agenda, &child->timed);
    child->state = state;
}

static void
begin(pn_restarts *sup, pn_child *child)
{
    become(sup, child, PN_CHILD_STARTING);
    child->starts++;
    emit(sup, PN_DO_START, child, 0);
}

static void
stop_child(pn_restarts *sup, pn_child *child, pn_child_state after)
{
    become(sup, child, PN_CHILD_STOPPING);
    child->after = after;
    emit(sup, PN_DO_STOP, child, 0);
}

static bool
is_ending(const pn_restarts *sup)
{
    return sup->phase >= PN_SUP_ENDING;
}

/* --- rank by rank --- */

/* The phase wants it down. */
static void
sweep(pn_restarts *sup, pn_child *child)
{
    bool returns = !is_ending(sup) && child->restart != PN_TEMPORARY;
    pn_child_state after = returns ? PN_CHILD_HELD : PN_CHILD_ENDED;
    switch (child->state) {
    case PN_CHILD_STARTING:
    case PN_CHILD_UP:
        stop_child(sup, child, after);
        await_child(sup, child);
        break;
    case PN_CHILD_STOPPING:
        if (child->after != PN_CHILD_ENDED)
            child->after = after;
        await_child(sup, child);
        break;
    case PN_CHILD_WAITING:
    case PN_CHILD_HELD:
    case PN_CHILD_IDLE:
    case PN_CHILD_ENDED:
        break;
    }
}

static void
advance_down(pn_restarts *sup)
{
    while (sup->awaited == 0 && sup->at != NULL && sup->at->rank > sup->from) {
        pn_child *child = sup->at;
        uint64_t rank = child->rank;
        while (child->next != NULL && child->next->rank == rank)
            child = child->next;
        for (; child != NULL && child->rank == rank; child = child->previous)
            sweep(sup, child);
        sup->at = child;
    }
    if (sup->awaited > 0)
        return;
    if (sup->phase == PN_SUP_GROUP_STOP) {
        sup->phase = PN_SUP_GROUP_WAIT;
        return;
    }
    sup->phase = PN_SUP_CLOSED;
    emit(sup, PN_DO_STOPPED, NULL, 0);
}

static void
advance_up(pn_restarts *sup)
{
    while (sup->awaited == 0 && sup->at != NULL) {
        pn_child *child = sup->at;
        sup->rank = child->rank;
        while (child->previous != NULL && child->previous->rank == sup->rank)
            child = child->previous;
        for (; child != NULL && child->rank == sup->rank;
             child = child->next) {
            if (child->state == PN_CHILD_HELD) {
                begin(sup, child);
                await_child(sup, child);
            }
        }
        sup->at = child;
    }
    if (sup->awaited == 0)
        sup->phase = PN_SUP_OPEN;
}

static void
advance(pn_restarts *sup)
{
    if (sup->phase == PN_SUP_GROUP_STOP || sup->phase == PN_SUP_ENDING)
        advance_down(sup);
    else if (sup->phase == PN_SUP_GROUP_START)
        advance_up(sup);
}

/* From the last rank on. */
static void
begin_down(pn_restarts *sup, pn_sup_phase phase, uint64_t from)
{
    for (pn_child *child = sup->first; sup->awaited > 0; child = child->next)
        stop_awaiting(sup, child);
    sup->phase = phase;
    sup->from = from;
    sup->at = sup->last;
}

static void
end_all(pn_restarts *sup)
{
    begin_down(sup, PN_SUP_ENDING, 0);
    for (pn_child *child = sup->first; child != NULL; child = child->next) {
        if (child->state == PN_CHILD_WAITING || child->state == PN_CHILD_HELD)
            become(sup, child, PN_CHILD_ENDED);
    }
    advance(sup);
}

/* --- restarts --- */

/* The child is held; the others of its group stop, and all wait until due. */
static void
restart_group(pn_restarts *sup, const pn_child *child, int64_t due)
{
    uint64_t from = sup->rules.strategy == PN_ONE_FOR_ALL ? 0 : child->rank;
    if (sup->phase == PN_SUP_GROUP_STOP || sup->phase == PN_SUP_GROUP_WAIT) {
        from = from < sup->from ? from : sup->from;
        due = due > sup->group_due ? due : sup->group_due;
    }
    sup->group_due = due;
    if (sup->phase == PN_SUP_GROUP_STOP)
        sup->from = from;
    else
        begin_down(sup, PN_SUP_GROUP_STOP, from);
    advance(sup);
}

static void
restart(pn_restarts *sup, pn_child *child, int64_t now, uint64_t random)
{
    if (!pn_intensity_count(&sup->intensity, now)) {
        become(sup, child, PN_CHILD_ENDED);
        emit(sup, PN_DO_ESCALATE, child, 0);
        end_all(sup);
        return;
    }
    int64_t delay = pn_backoff_delay(
        sup->rules.backoff, sup->rules.backoff_max, child->attempts, random);
    child->attempts += child->attempts < UINT32_MAX;
    emit(sup, PN_DO_WAIT, child, delay);
    if (sup->rules.strategy == PN_ONE_FOR_ONE) {
        become(sup, child, PN_CHILD_WAITING);
        pn_agenda_set(&sup->agenda, &child->timed, now + delay);
    } else {
        become(sup, child, PN_CHILD_HELD);
        restart_group(sup, child, now + delay);
    }
}

/* It has ended without being asked to. */
static void
ended_itself(pn_restarts *sup, pn_child *child, bool abnormal, int64_t now,
             uint64_t random)
{
    bool returns = child->restart == PN_PERMANENT ||
                   (child->restart == PN_TRANSIENT && abnormal);
    if (child->state == PN_CHILD_UP &&
        now - child->up_since >= sup->rules.within)
        child->attempts = 0;
    if (!returns || is_ending(sup)) {
        become(sup, child, PN_CHILD_ENDED);
        advance(sup);
    } else if (sup->phase == PN_SUP_GROUP_STOP && child->rank > sup->from) {
        become(sup, child, PN_CHILD_HELD); /* its stop would have come */
        advance(sup);
    } else {
        restart(sup, child, now, random);
    }
}

/* --- events --- */

void
pn_restarts_start(pn_restarts *sup, pn_child *child)
{
    sup->action_count = 0;
    if (is_ending(sup) ||
        (child->state != PN_CHILD_IDLE && child->state != PN_CHILD_ENDED))
        return;
    uint64_t begun = goes_up(sup) ? sup->rank : sup->from;
    if (sup->phase == PN_SUP_OPEN || child->rank <= begun) {
        begin(sup, child);
        return;
    }
    become(sup, child, PN_CHILD_HELD);
    if (goes_up(sup) && (sup->at == NULL || child->rank < sup->at->rank))
        sup->at = child;
}

void
pn_restarts_halt(pn_restarts *sup, pn_child *child)
{
    sup->action_count = 0;
    if (child->state == PN_CHILD_STARTING || child->state == PN_CHILD_UP)
        stop_child(sup, child, PN_CHILD_ENDED);
    else if (child->state == PN_CHILD_STOPPING)
        child->after = PN_CHILD_ENDED;
    else
        become(sup, child, PN_CHILD_ENDED);
    advance(sup);
}

void
pn_restarts_again(pn_restarts *sup, pn_child *child)
{
    if (child->state == PN_CHILD_IDLE || child->state == PN_CHILD_ENDED) {
        pn_restarts_start(sup, child);
        return;
    }
    sup->action_count = 0;
    if (is_ending(sup))
        return;
    if (child->state == PN_CHILD_WAITING) {
        begin(sup, child);
    } else if (child->state == PN_CHILD_STOPPING) {
        child->after = child->awaited ? PN_CHILD_HELD : PN_CHILD_STARTING;
    } else if (child->state != PN_CHILD_HELD) {
        stop_child(sup, child, PN_CHILD_STARTING);
        advance(sup);
    }
}

void
pn_restarts_up(pn_restarts *sup, pn_child *child, int64_t now)
{
    sup->action_count = 0;
    if (child->state != PN_CHILD_STARTING)
        return;
    become(sup, child, PN_CHILD_UP);
    child->up_since = now;
    advance(sup);
}

void
pn_restarts_down(pn_restarts *sup, pn_child *child, bool abnormal, int64_t now,
                 uint64_t random)
{
    sup->action_count = 0;
    if (child->state == PN_CHILD_STARTING || child->state == PN_CHILD_UP) {
        ended_itself(sup, child, abnormal, now, random);
    } else if (child->state == PN_CHILD_STOPPING) {
        if (is_ending(sup))
            become(sup, child, PN_CHILD_ENDED);
        else if (child->after == PN_CHILD_STARTING)
            begin(sup, child);
        else
            become(sup, child, child->after);
        advance(sup);
    }
}

void
pn_restarts_stop(pn_restarts *sup)
{
    sup->action_count = 0;
    if (!is_ending(sup))
        end_all(sup);
}

void
pn_restarts_tick(pn_restarts *sup, int64_t now)
{
    sup->action_count = 0;
    pn_timed *timed;
    while ((timed = pn_agenda_first(&sup->agenda)) != NULL &&
           timed->due <= now)
        begin(sup, (pn_child *)timed);
    if (sup->phase == PN_SUP_GROUP_WAIT && sup->group_due <= now) {
        sup->phase = PN_SUP_GROUP_START;
        sup->at = sup->first;
        sup->rank = 0;
        advance(sup);
    }
}

int64_t
pn_restarts_due(const pn_restarts *sup)
{
    if (sup->phase == PN_SUP_GROUP_WAIT)
        return sup->group_due;
    const pn_timed *timed = pn_agenda_first(&sup->agenda);
    return timed == NULL ? INT64_MAX : timed->due;
}

/* --- invariants --- */

/* Whether a child may be held now. */
static bool
may_hold(const pn_restarts *sup, const pn_child *child)
{
    if (sup->phase == PN_SUP_GROUP_START)
        return child->rank > sup->rank;
    return (sup->phase == PN_SUP_GROUP_STOP ||
            sup->phase == PN_SUP_GROUP_WAIT) &&
           child->rank >= sup->from;
}

static bool
check_child(const pn_restarts *sup, const pn_child *child)
{
    pn_child_state awaited = sup->phase == PN_SUP_GROUP_START
                                 ? PN_CHILD_STARTING
                                 : PN_CHILD_STOPPING;
    bool timed = child->timed.place != PN_NOWHERE;
    bool last = child->next == NULL;
    return timed == (child->state == PN_CHILD_WAITING) &&
           (!child->awaited || child->state == awaited) &&
           (child->state != PN_CHILD_HELD || may_hold(sup, child)) &&
           (last ? sup->last : child->next->previous) == child &&
           (last || child->next->rank >= child->rank) &&
           (sup->phase != PN_SUP_CLOSED || child->state == PN_CHILD_IDLE ||
            child->state == PN_CHILD_ENDED) &&
           pn_restarts_child(sup, child->id) == child;
}

bool
pn_restarts_check(const pn_restarts *sup)
{
    size_t count = 0, awaited = 0, waiting = 0;
    for (pn_child *child = sup->first; child != NULL; child = child->next) {
        if (!check_child(sup, child))
            return false;
        count++;
        awaited += child->awaited;
        waiting += child->state == PN_CHILD_WAITING;
    }
    bool moves = sup->phase == PN_SUP_GROUP_STOP || goes_up(sup) ||
                 sup->phase == PN_SUP_ENDING;
    return count == sup->children.count && awaited == sup->awaited &&
           waiting == sup->agenda.count && moves == (awaited > 0) &&
           sup->action_count <= sup->action_capacity &&
           (sup->first == NULL) == (sup->last == NULL) &&
           pn_agenda_check(&sup->agenda) && pn_map_check(&sup->children);
}
