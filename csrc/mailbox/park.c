#include "mailbox/park.h"

#include "base/alloc.h"
#include "base/status.h"
#include "mailbox/envelope.h"

typedef struct pn_park_target {
    struct pn_park_target *next; /* in the ring, or itself */
    struct pn_park_target *previous;
    uint64_t number;
    pn_parked *first;
    pn_parked *last;
    size_t count;
    size_t bytes;
    uint32_t depth;
    bool stopped;
    bool going; /* stands in the ring */
} pn_park_target;

void
pn_park_free(pn_park *park)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&park->targets, &cursor)) != NULL)
        pn_free(entry->value);
    pn_map_free(&park->targets);
    pn_map_free(&park->halted);
    pn_map_free(&park->asks);
    *park = (pn_park){0};
}

/* --- the round --- */

static void
join_round(pn_park *park, pn_park_target *target)
{
    pn_park_target *turn = park->turn;
    target->going = true;
    if (turn == NULL) {
        park->turn = target->next = target->previous = target;
        return;
    }
    target->next = turn;
    target->previous = turn->previous;
    turn->previous->next = target;
    turn->previous = target;
}

static void
leave_round(pn_park *park, pn_park_target *target)
{
    target->going = false;
    target->previous->next = target->next;
    target->next->previous = target->previous;
    if (park->turn == target)
        park->turn = target->next == target ? NULL : target->next;
}

static bool
may_go(const pn_park *park, const pn_park_target *target)
{
    return target->count > 0 && !target->stopped &&
           pn_map_get(&park->halted, pn_node_of(target->number)) == NULL;
}

/* Something about the target has changed: it may be of no interest more. */
static void
settle(pn_park *park, pn_park_target *target)
{
    bool going = may_go(park, target);
    if (going && !target->going)
        join_round(park, target);
    else if (!going && target->going)
        leave_round(park, target);
    if (target->count > 0 || target->stopped)
        return;
    (void)pn_map_take(&park->targets, target->number);
    pn_free(target);
}

/* --- targets --- */

/* The target, made known now if it is not; NULL without memory. */
static pn_park_target *
know(pn_park *park, uint64_t number)
{
    pn_park_target *target = pn_map_get(&park->targets, number);
    if (target != NULL)
        return target;
    target = pn_alloc_zeroed(1, sizeof *target);
    if (target == NULL)
        return NULL;
    target->number = number;
    if (pn_map_put(&park->targets, number, target) == PN_OK)
        return target;
    pn_free(target);
    return NULL;
}

int
pn_park_stop(pn_park *park, uint64_t number, uint32_t depth)
{
    if (park->targets.count >= PN_PARK_TARGETS &&
        pn_map_get(&park->targets, number) == NULL)
        return PN_EFULL;
    pn_park_target *target = know(park, number);
    if (target == NULL)
        return PN_ENOMEM;
    target->stopped = true;
    target->depth = depth;
    settle(park, target);
    return PN_OK;
}

void
pn_park_go(pn_park *park, uint64_t number)
{
    pn_park_target *target = pn_map_get(&park->targets, number);
    if (target == NULL)
        return;
    target->stopped = false;
    target->depth = 0;
    settle(park, target);
}

void
pn_park_go_node(pn_park *park, uint64_t node)
{
    pn_park_target *list = NULL;
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&park->targets, &cursor)) != NULL) {
        pn_park_target *target = entry->value;
        if (!target->stopped || pn_node_of(target->number) != node)
            continue;
        target->stopped = false;
        target->depth = 0;
        if (target->count > 0) { /* it stays known */
            settle(park, target);
        } else {
            target->next = list;
            list = target;
        }
    }
    while (list != NULL) {
        pn_park_target *target = list;
        list = target->next;
        (void)pn_map_take(&park->targets, target->number);
        pn_free(target);
    }
}

/* What was said of a node concerns those of its actors that have entries;
 * none of them becomes unknown by it. */
static void
settle_node(pn_park *park, uint64_t node)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&park->targets, &cursor)) != NULL) {
        if (pn_node_of(entry->key) == node)
            settle(park, entry->value);
    }
}

int
pn_park_halt(pn_park *park, uint64_t node)
{
    int err = pn_map_put(&park->halted, node, park);
    if (err == PN_OK)
        settle_node(park, node);
    return err;
}

void
pn_park_release(pn_park *park, uint64_t node)
{
    if (pn_map_take(&park->halted, node) != NULL)
        settle_node(park, node);
}

bool
pn_park_is_closed(const pn_park *park, uint64_t target)
{
    return (park->targets.count > 0 &&
            pn_map_get(&park->targets, target) != NULL) ||
           (park->halted.count > 0 &&
            pn_map_get(&park->halted, pn_node_of(target)) != NULL);
}

uint32_t
pn_park_depth(const pn_park *park, uint64_t number)
{
    const pn_park_target *target = pn_map_get(&park->targets, number);
    return target == NULL ? 0 : target->depth;
}

/* --- entries --- */

static void
append(pn_park *park, pn_park_target *target, pn_parked *entry)
{
    entry->next = NULL;
    entry->previous = target->last;
    *(target->last == NULL ? &target->first : &target->last->next) = entry;
    target->last = entry;
    target->count++;
    target->bytes += entry->bytes;
    park->count++;
    park->bytes += entry->bytes;
}

int
pn_park_put(pn_park *park, pn_parked *entry, size_t messages, size_t bytes)
{
    pn_park_target *target = know(park, entry->target);
    if (target == NULL)
        return PN_ENOMEM;
    int err = PN_OK;
    if (target->count >= messages || target->bytes >= bytes)
        err = PN_EFULL;
    else if (entry->id != 0)
        err = pn_map_put(&park->asks, entry->id, entry);
    if (err == PN_OK)
        append(park, target, entry);
    settle(park, target);
    return err;
}

pn_parked *
pn_park_next(const pn_park *park)
{
    return park->turn == NULL ? NULL : park->turn->first;
}

void
pn_park_skip(pn_park *park)
{
    if (park->turn != NULL)
        park->turn = park->turn->next;
}

void
pn_park_take(pn_park *park, pn_parked *entry)
{
    pn_park_target *target = pn_map_get(&park->targets, entry->target);
    pn_parked *next = entry->next, *previous = entry->previous;
    *(previous == NULL ? &target->first : &previous->next) = next;
    *(next == NULL ? &target->last : &next->previous) = previous;
    target->count--;
    target->bytes -= entry->bytes;
    park->count--;
    park->bytes -= entry->bytes;
    if (entry->id != 0)
        (void)pn_map_take(&park->asks, entry->id);
    entry->next = entry->previous = NULL;
    if (park->turn == target)
        park->turn = target->next;
    settle(park, target);
}

pn_parked *
pn_park_find(const pn_park *park, uint64_t id)
{
    return park->asks.count == 0 ? NULL : pn_map_get(&park->asks, id);
}

/* Take the targets of a node, or all, out of the round, linked by next. */
static pn_park_target *
gather(pn_park *park, uint64_t node, bool all)
{
    pn_park_target *list = NULL;
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&park->targets, &cursor)) != NULL) {
        pn_park_target *target = entry->value;
        if (!all && pn_node_of(target->number) != node)
            continue;
        if (target->going)
            leave_round(park, target);
        target->next = list;
        list = target;
    }
    return list;
}

pn_parked *
pn_park_take_node(pn_park *park, uint64_t node, bool all)
{
    pn_parked *taken = NULL;
    pn_park_target *target = gather(park, node, all);
    while (target != NULL) {
        pn_park_target *next = target->next;
        if (target->last != NULL) {
            target->last->next = taken;
            taken = target->first;
        }
        park->count -= target->count;
        park->bytes -= target->bytes;
        (void)pn_map_take(&park->targets, target->number);
        pn_free(target);
        target = next;
    }
    for (pn_parked *entry = taken; entry != NULL; entry = entry->next) {
        if (entry->id != 0)
            (void)pn_map_take(&park->asks, entry->id);
    }
    if (all)
        pn_map_free(&park->halted);
    else
        (void)pn_map_take(&park->halted, node);
    return taken;
}

/* --- checks --- */

static bool
check_target(const pn_park *park, const pn_park_target *target, size_t *asks)
{
    const pn_parked *last = NULL;
    size_t count = 0, bytes = 0;
    for (const pn_parked *entry = target->first; entry != NULL;
         entry = entry->next) {
        if (entry->target != target->number || entry->previous != last)
            return false;
        if (entry->id != 0 && pn_map_get(&park->asks, entry->id) != entry)
            return false;
        *asks += entry->id != 0;
        count++;
        bytes += entry->bytes;
        last = entry;
    }
    return last == target->last && count == target->count &&
           bytes == target->bytes && (count > 0 || target->stopped) &&
           may_go(park, target) == target->going;
}

static size_t
count_round(const pn_park *park)
{
    size_t count = 0;
    const pn_park_target *target = park->turn;
    if (target == NULL)
        return 0;
    do {
        if (!target->going || target->next->previous != target)
            return SIZE_MAX;
        count++;
        target = target->next;
    } while (target != park->turn);
    return count;
}

bool
pn_park_check(const pn_park *park)
{
    size_t cursor = 0, going = 0, count = 0, bytes = 0, asks = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&park->targets, &cursor)) != NULL) {
        const pn_park_target *target = entry->value;
        if (target->number != entry->key || !check_target(park, target, &asks))
            return false;
        going += target->going;
        count += target->count;
        bytes += target->bytes;
    }
    return going == count_round(park) && count == park->count &&
           bytes == park->bytes && asks == park->asks.count &&
           pn_map_check(&park->targets) && pn_map_check(&park->asks) &&
           pn_map_check(&park->halted);
}
