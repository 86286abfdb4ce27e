#include "sys/spin.h"

#include "sys/clock.h"
#include "sys/cpus.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/epoll.h>

/* Vain spinning takes at most one part in this many of the time. */
#define CREDIT_PART 20
#define CREDIT_MAX 2000000 /* ns: never more at once */

/* The affinity of a process may change; it is looked at this often. */
#define COUNT_PERIOD 100000000

/* Below this an attempt cannot catch anything. */
#define SHORTEST 2000

void
pn_spin_init(pn_spin *spin, pn_spin_page *page, int fd, int limit,
             int64_t longest)
{
    *spin = (pn_spin){
        .page = page,
        .fd = fd,
        .limit = limit,
        .longest = longest,
        .next = longest,
        .credit = CREDIT_MAX,
        .credited_at = pn_clock_now(),
    };
}

static void
update(pn_spin *spin, int64_t now)
{
    spin->credit += (now - spin->credited_at) / CREDIT_PART;
    if (spin->credit > CREDIT_MAX)
        spin->credit = CREDIT_MAX;
    spin->credited_at = now;
    if (spin->counted_at != 0 && now - spin->counted_at < COUNT_PERIOD)
        return;
    spin->counted_at = now;
    spin->processors = pn_cpus_affinity();
    if (spin->processors > spin->limit)
        spin->processors = spin->limit;
}

/* Take a free slot until a time. Relaxed order suffices: a slot protects no
 * data, and two who disagree for a moment merely spin both. */
static _Atomic int64_t *
take_slot(pn_spin *spin, int64_t now, int64_t until)
{
    int slots = spin->processors - 1;
    if (slots > PN_SPIN_SLOTS)
        slots = PN_SPIN_SLOTS;
    for (int i = 0; i < slots; i++) {
        _Atomic int64_t *slot = &spin->page->held_until[i];
        int64_t held = atomic_load_explicit(slot, memory_order_relaxed);
        if (held < now && atomic_compare_exchange_strong_explicit(
                              slot, &held, until, memory_order_relaxed,
                              memory_order_relaxed))
            return slot;
    }
    return NULL;
}

static bool
is_ready(int fd)
{
    struct epoll_event event;
    return epoll_wait(fd, &event, 1, 0) != 0; /* an error is for the caller */
}

static bool
spin_until(int fd, int64_t until)
{
    do {
        if (is_ready(fd))
            return true;
    } while (pn_clock_now() < until);
    return false;
}

bool
pn_spin_wait(pn_spin *spin, int64_t timeout)
{
    int64_t now = pn_clock_now();
    int64_t span = spin->next;
    spin->slept_at = now;
    if (timeout >= 0 && span > timeout)
        span = timeout;
    if (span < SHORTEST)
        return false;
    update(spin, now);
    _Atomic int64_t *slot =
        spin->credit > 0 ? take_slot(spin, now, now + span) : NULL;
    if (slot == NULL)
        return false;
    bool ready = spin_until(spin->fd, now + span);
    atomic_store_explicit(slot, 0, memory_order_relaxed);
    if (ready) {
        spin->next = spin->longest;
        return true;
    }
    spin->slept_at = pn_clock_now();
    spin->credit -= spin->slept_at - now;
    spin->next = span / 2;
    return false;
}

void
pn_spin_woke(pn_spin *spin)
{
    if (pn_clock_now() - spin->slept_at < 2 * spin->longest)
        spin->next = spin->longest;
}
