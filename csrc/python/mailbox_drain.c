/* Actors that drain: they finish what they have and take nothing new. */
#include "python/cell.h"

#include <string.h>

/* The command by which an actor drains. */
static const char drain[] = ":_drain";

static bool
is_one_of(const pn_envelope *env, const char *const names[])
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strlen(names[i]) == env->command_size &&
            memcmp(env->command, names[i], env->command_size) == 0)
            return true;
    }
    return false;
}

bool
pn_mailbox_is_aside(const pn_envelope *env)
{
    static const char *const aside[] = {drain, ":_end", ":_stop_actor", NULL};
    return is_one_of(env, aside);
}

bool
pn_mailbox_is_urgent(const pn_envelope *env)
{
    /* Who has lent an iterator waits for what pulls it. */
    static const char *const urgent[] = {":_pull", NULL};
    return is_one_of(env, urgent) || pn_mailbox_is_aside(env);
}

void
pn_mailbox_begin_drain(CellObject *cell, const pn_envelope *env)
{
    static const char *const drains[] = {drain, NULL};
    if (!is_one_of(env, drains))
        return;
    if (cell == cell->mailbox->main)
        cell->mailbox->draining = true;
    else
        cell->draining = true;
}

bool
pn_mailbox_turns_away(const CellObject *cell, const pn_envelope *env)
{
    static const char *const taken[] = {"stop", ":stop", NULL};
    const MailboxObject *self = cell->mailbox;
    bool drains = (cell->draining && env->source != cell->number) ||
                  (self->draining && pn_node_of(env->source) != self->number);
    return drains && !is_one_of(env, taken);
}

void
pn_mailbox_turn_away(CellObject *cell, const pn_envelope *env)
{
    if (env->kind == PN_TELL)
        pn_mailbox_lose_tell(cell, env, "actor-stopping");
    else
        pn_mailbox_reply_error(cell->mailbox, cell->number, env->source,
                               env->id, "stopping", NULL);
}
