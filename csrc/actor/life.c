#include "actor/life.h"

#define NEVER INT64_MAX

/* Between the two looks at a silent actor. */
#define CONFIRM 2000000000LL

/* Times of silence are rounded up to so many a period, so that many actors
 * are looked at together. */
#define ROUNDS 16

static int64_t
after(int64_t now, int64_t delay)
{
    return now > 0 && delay > NEVER - now ? NEVER : now + delay;
}

static void
enter(pn_life *life, pn_life_state state, int64_t due)
{
    life->state = state;
    life->due = due;
}

static void
ask(pn_life_actions *out, pn_life_do what)
{
    out->what[out->count++] = what;
}

/* When it will have been silent for too long, unless it is heard. */
static int64_t
silent_at(const pn_life *life)
{
    int64_t step = life->limits.silence / ROUNDS;
    if (life->limits.silence == 0)
        return NEVER;
    int64_t due = after(life->heard, life->limits.silence);
    if (step == 0 || due > NEVER - step)
        return due;
    return due + (step - due % step) % step;
}

static void
run(pn_life *life, int64_t now)
{
    life->heard = now;
    enter(life, PN_LIFE_RUNNING, silent_at(life));
}

static void
terminate(pn_life *life, int64_t grace, int64_t now, pn_life_actions *out)
{
    enter(life, PN_LIFE_TERMINATING, after(now, grace));
    ask(out, PN_LIFE_TERMINATE);
}

void
pn_life_init(pn_life *life, const pn_life_limits *limits, int64_t now)
{
    *life = (pn_life){.limits = *limits, .heard = now, .orphan_at = NEVER};
    enter(life, PN_LIFE_STARTING, after(now, limits->spawn));
}

/* --- events --- */

void
pn_life_heard(pn_life *life, int64_t now)
{
    if (life->state == PN_LIFE_RUNNING)
        life->heard = now; /* and tick sees it when it is due */
    else if (life->state < PN_LIFE_DRAINING)
        run(life, now);
}

void
pn_life_look(pn_life *life, bool busy, int64_t now, pn_life_actions *out)
{
    *out = (pn_life_actions){0};
    bool running = life->state == PN_LIFE_RUNNING;
    if (!running && life->state != PN_LIFE_SILENT)
        return;
    if (busy) {
        run(life, now);
    } else if (running && silent_at(life) > now) {
        life->due = silent_at(life); /* heard meanwhile */
    } else if (running) {
        enter(life, PN_LIFE_SILENT, after(now, CONFIRM));
        ask(out, PN_LIFE_CAPTURE);
    } else {
        enter(life, PN_LIFE_STOPPING, after(now, life->limits.exit));
        ask(out, PN_LIFE_HUNG);
        ask(out, PN_LIFE_ASK_STOP);
    }
}

void
pn_life_stop(pn_life *life, int64_t drain, int64_t now, pn_life_actions *out)
{
    *out = (pn_life_actions){0};
    if (life->state >= PN_LIFE_STOPPING ||
        (drain > 0 && life->state == PN_LIFE_DRAINING))
        return;
    if (drain > 0) {
        enter(life, PN_LIFE_DRAINING, after(now, drain));
        ask(out, PN_LIFE_ASK_DRAIN);
    } else {
        enter(life, PN_LIFE_STOPPING, after(now, life->limits.exit));
        ask(out, PN_LIFE_ASK_STOP);
    }
}

void
pn_life_waits(pn_life *life, int64_t until)
{
    if (life->state == PN_LIFE_STOPPING && life->due < until)
        life->due = until;
}

void
pn_life_kill(pn_life *life, int64_t now, pn_life_actions *out)
{
    *out = (pn_life_actions){0};
    if (life->state >= PN_LIFE_GONE)
        return;
    enter(life, PN_LIFE_KILLING, after(now, life->limits.kill));
    ask(out, PN_LIFE_KILL);
}

void
pn_life_leaves(pn_life *life, int64_t now)
{
    life->leaves = true;
    if (life->state < PN_LIFE_STOPPING)
        enter(life, PN_LIFE_STOPPING, after(now, life->limits.exit));
}

void
pn_life_unlinked(pn_life *life, int64_t now)
{
    if (life->unlinked || life->state == PN_LIFE_GONE)
        return;
    life->unlinked = true;
    life->orphan_at = after(now, life->limits.link);
}

void
pn_life_exited(pn_life *life, int64_t now)
{
    if (life->state == PN_LIFE_GONE)
        return;
    life->orphan_at = NEVER;
    enter(life, PN_LIFE_GONE, after(now, life->limits.link / 4));
}

/* --- time --- */

/* Too silent, as far as is known here. */
static void
suspect(pn_life *life, int64_t now, pn_life_actions *out)
{
    int64_t late = now - life->due;
    if (life->state == PN_LIFE_RUNNING && silent_at(life) > life->due) {
        life->due = silent_at(life); /* it was heard */
        if (life->due > now)
            return;
    }
    if (late > life->limits.silence / 2 && late > CONFIRM) {
        run(life, now); /* nobody was here to hear it */
        return;
    }
    life->due = after(now, CONFIRM); /* lest a look is never answered */
    ask(out, PN_LIFE_LOOK);
}

static void
orphan(pn_life *life, int64_t now, pn_life_actions *out)
{
    life->orphan_at = NEVER;
    ask(out, PN_LIFE_ORPHANED);
    bool asked = life->state >= PN_LIFE_STOPPING;
    if (!life->leaves && life->state < PN_LIFE_TERMINATING)
        terminate(life, asked ? life->limits.terminate : life->limits.exit,
                  now, out);
}

static void
on_due(pn_life *life, int64_t now, pn_life_actions *out)
{
    switch (life->state) {
    case PN_LIFE_STARTING:
        ask(out, PN_LIFE_START_FAILED);
        enter(life, PN_LIFE_KILLING, after(now, life->limits.kill));
        ask(out, PN_LIFE_KILL);
        break;
    case PN_LIFE_RUNNING:
    case PN_LIFE_SILENT:
        suspect(life, now, out);
        break;
    case PN_LIFE_DRAINING:
        enter(life, PN_LIFE_STOPPING, after(now, life->limits.exit));
        ask(out, PN_LIFE_ASK_STOP);
        break;
    case PN_LIFE_STOPPING:
        terminate(life, life->limits.terminate, now, out);
        break;
    case PN_LIFE_TERMINATING:
        enter(life, PN_LIFE_KILLING, after(now, life->limits.kill));
        ask(out, PN_LIFE_KILL);
        break;
    case PN_LIFE_KILLING:
        life->orphan_at = NEVER;
        enter(life, PN_LIFE_GONE, NEVER);
        ask(out, PN_LIFE_FORGET);
        break;
    case PN_LIFE_GONE:
        life->due = NEVER;
        ask(out, PN_LIFE_END);
        break;
    }
}

void
pn_life_tick(pn_life *life, int64_t now, pn_life_actions *out)
{
    *out = (pn_life_actions){0};
    if (life->orphan_at <= now)
        orphan(life, now, out);
    if (life->due <= now)
        on_due(life, now, out);
}

bool
pn_life_check(const pn_life *life)
{
    bool timed = life->due != NEVER;
    return (life->orphan_at == NEVER || life->state < PN_LIFE_GONE) &&
           (timed || life->state == PN_LIFE_GONE ||
            life->state == PN_LIFE_RUNNING) &&
           (timed || life->state != PN_LIFE_RUNNING ||
            life->limits.silence == 0);
}
