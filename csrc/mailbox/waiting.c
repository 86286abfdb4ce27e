#include "mailbox/waiting.h"

#include "base/alloc.h"
#include "base/status.h"

/* A table of asks that has grown beyond this is not kept for reuse. */
#define SPARE_CAPACITY 64

/* One actor's messages, the first that came first.
 *   - an ask stands in asks exactly while it stands in the queue (of several
 *     with one id, one of them, or none any more). */
typedef struct pn_waiting_source {
    struct pn_waiting_source *next; /* in the ring, or itself */
    struct pn_waiting_source *previous;
    uint64_t number;
    pn_waiting_entry *first;
    pn_waiting_entry *last;
    pn_map asks; /* id -> entry */
} pn_waiting_source;

static void
free_source(pn_waiting_source *source)
{
    if (source == NULL)
        return;
    pn_map_free(&source->asks);
    pn_free(source);
}

void
pn_waiting_free(pn_waiting *waiting)
{
    free_source(waiting->spare);
    pn_map_free(&waiting->sources);
    *waiting = (pn_waiting){0};
}

/* --- the round --- */

static void
join_round(pn_waiting *waiting, pn_waiting_source *source)
{
    pn_waiting_source *turn = waiting->turn;
    if (turn == NULL) {
        waiting->turn = source->next = source->previous = source;
        return;
    }
    source->next = turn;
    source->previous = turn->previous;
    turn->previous->next = source;
    turn->previous = source;
}

static void
leave_round(pn_waiting *waiting, pn_waiting_source *source)
{
    source->previous->next = source->next;
    source->next->previous = source->previous;
    if (waiting->turn == source)
        waiting->turn = source->next == source ? NULL : source->next;
}

/* A source without entries, neither in the round nor known yet. */
static pn_waiting_source *
make_source(pn_waiting *waiting, uint64_t number)
{
    pn_waiting_source *source = waiting->spare;
    waiting->spare = NULL;
    if (source == NULL)
        source = pn_alloc_zeroed(1, sizeof *source);
    if (source != NULL)
        source->number = number;
    return source;
}

/* Keep one for reuse: often a single source comes and goes. */
static void
retire_source(pn_waiting *waiting, pn_waiting_source *source)
{
    if (waiting->spare == NULL && source->asks.capacity <= SPARE_CAPACITY)
        waiting->spare = source;
    else
        free_source(source);
}

static int
add_source(pn_waiting *waiting, pn_waiting_source *source)
{
    int err = pn_map_put(&waiting->sources, source->number, source);
    if (err == PN_OK)
        join_round(waiting, source);
    return err;
}

/* --- entries --- */

/* Make an ask known by its id, unless another one is. */
static int
add_ask(pn_waiting_source *source, pn_waiting_entry *entry)
{
    if (entry->id == 0 || pn_map_get(&source->asks, entry->id) != NULL)
        return PN_OK;
    return pn_map_put(&source->asks, entry->id, entry);
}

static void
remove_ask(pn_waiting_source *source, const pn_waiting_entry *entry)
{
    if (entry->id != 0 && pn_map_get(&source->asks, entry->id) == entry)
        (void)pn_map_take(&source->asks, entry->id);
}

static void
append(pn_waiting *waiting, pn_waiting_source *source, pn_waiting_entry *entry)
{
    entry->serial = ++waiting->last_serial;
    entry->next = entry->newer = NULL;
    entry->previous = source->last;
    entry->older = waiting->newest;
    *(source->last == NULL ? &source->first : &source->last->next) = entry;
    *(waiting->newest == NULL ? &waiting->oldest : &waiting->newest->newer) =
        entry;
    source->last = waiting->newest = entry;
    waiting->count++;
    waiting->bytes += entry->bytes;
}

static void
unlink_entry(pn_waiting *waiting, pn_waiting_source *source,
             pn_waiting_entry *entry)
{
    pn_waiting_entry *next = entry->next, *previous = entry->previous;
    pn_waiting_entry *newer = entry->newer, *older = entry->older;
    *(previous == NULL ? &source->first : &previous->next) = next;
    *(next == NULL ? &source->last : &next->previous) = previous;
    *(older == NULL ? &waiting->oldest : &older->newer) = newer;
    *(newer == NULL ? &waiting->newest : &newer->older) = older;
    entry->next = entry->previous = entry->newer = entry->older = NULL;
    waiting->count--;
    waiting->bytes -= entry->bytes;
}

static pn_waiting_entry *
take_entry(pn_waiting *waiting, pn_waiting_source *source,
           pn_waiting_entry *entry)
{
    remove_ask(source, entry);
    unlink_entry(waiting, source, entry);
    if (source->first == NULL) {
        leave_round(waiting, source);
        (void)pn_map_take(&waiting->sources, source->number);
        retire_source(waiting, source);
    }
    return entry;
}

int
pn_waiting_put(pn_waiting *waiting, pn_waiting_entry *entry)
{
    pn_waiting_source *known = pn_map_get(&waiting->sources, entry->source);
    pn_waiting_source *source =
        known != NULL ? known : make_source(waiting, entry->source);
    if (source == NULL)
        return PN_ENOMEM;
    int err = add_ask(source, entry);
    if (err == PN_OK && known == NULL) {
        err = add_source(waiting, source);
        if (err < 0)
            remove_ask(source, entry);
    }
    if (err == PN_OK)
        append(waiting, source, entry);
    else if (known == NULL)
        retire_source(waiting, source);
    return err;
}

pn_waiting_entry *
pn_waiting_take(pn_waiting *waiting)
{
    pn_waiting_source *source = waiting->turn;
    if (source == NULL)
        return NULL;
    waiting->turn = source->next;
    return take_entry(waiting, source, source->first);
}

pn_waiting_entry *
pn_waiting_take_ask(pn_waiting *waiting, uint64_t source, uint64_t id)
{
    pn_waiting_source *from = pn_map_get(&waiting->sources, source);
    pn_waiting_entry *entry =
        from == NULL ? NULL : pn_map_get(&from->asks, id);
    return entry == NULL ? NULL : take_entry(waiting, from, entry);
}

pn_waiting_entry *
pn_waiting_take_oldest(pn_waiting *waiting)
{
    pn_waiting_entry *entry = waiting->oldest;
    if (entry == NULL)
        return NULL;
    return take_entry(waiting, pn_map_get(&waiting->sources, entry->source),
                      entry);
}

/* --- checks --- */

/* Whether a queue is whole; adds what is in it. */
static bool
check_source(const pn_waiting_source *source, size_t *count, size_t *bytes)
{
    const pn_waiting_entry *last = NULL;
    size_t asks = 0;
    for (const pn_waiting_entry *entry = source->first; entry != NULL;
         entry = entry->next) {
        if (entry->source != source->number || entry->previous != last ||
            (last != NULL && entry->serial <= last->serial))
            return false;
        asks +=
            entry->id != 0 && pn_map_get(&source->asks, entry->id) == entry;
        *count += 1;
        *bytes += entry->bytes;
        last = entry;
    }
    return last != NULL && last == source->last &&
           asks == source->asks.count && pn_map_check(&source->asks);
}

static bool
check_round(const pn_waiting *waiting, size_t *count, size_t *bytes)
{
    size_t sources = 0;
    const pn_waiting_source *source = waiting->turn;
    if (source == NULL)
        return waiting->sources.count == 0;
    do {
        if (pn_map_get(&waiting->sources, source->number) != source ||
            source->next->previous != source ||
            !check_source(source, count, bytes))
            return false;
        sources++;
        source = source->next;
    } while (source != waiting->turn);
    return sources == waiting->sources.count;
}

bool
pn_waiting_check(const pn_waiting *waiting)
{
    const pn_waiting_entry *last = NULL;
    size_t count = 0, bytes = 0, all = 0;
    for (const pn_waiting_entry *entry = waiting->oldest; entry != NULL;
         entry = entry->newer) {
        if (entry->older != last ||
            (last != NULL && entry->serial <= last->serial))
            return false;
        last = entry;
        all++;
    }
    return check_round(waiting, &count, &bytes) && last == waiting->newest &&
           all == count && count == waiting->count &&
           bytes == waiting->bytes && pn_map_check(&waiting->sources);
}
