#include "mailbox/router.h"

#include "base/alloc.h"
#include "base/status.h"

/* The other end of a talk. */
static pn_route *
other_end(const pn_talk *talk, const pn_route *route)
{
    return talk->ends[talk->ends[0] == route];
}

/* Free the route and its talks, which leave the other ends' maps. */
static void
free_route(pn_route *route)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&route->peers, &cursor)) != NULL) {
        pn_talk *talk = entry->value;
        (void)pn_map_take(&other_end(talk, route)->peers, route->number);
        pn_free(talk);
    }
    pn_map_free(&route->peers);
    pn_free(route);
}

void
pn_router_free(pn_router *router)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&router->routes, &cursor)) != NULL)
        free_route(entry->value);
    pn_map_free(&router->routes);
}

pn_route *
pn_router_find(const pn_router *router, uint64_t number)
{
    return pn_map_get(&router->routes, number);
}

int
pn_router_add(pn_router *router, uint64_t number, void *link)
{
    pn_route *route = pn_router_find(router, number);
    if (route != NULL) {
        route->link = link;
        return PN_OK;
    }
    route = pn_alloc_zeroed(1, sizeof *route);
    if (route == NULL)
        return PN_ENOMEM;
    route->number = number;
    route->link = link;
    int err = pn_map_put(&router->routes, number, route);
    if (err < 0)
        free_route(route);
    return err;
}

int
pn_router_note_talk(pn_route *source, pn_route *target)
{
    if (source == target || pn_router_talk(source, target) != NULL)
        return PN_OK;
    pn_talk *talk = pn_alloc(sizeof *talk);
    if (talk == NULL)
        return PN_ENOMEM;
    *talk = (pn_talk){.ends = {source, target}};
    int err = pn_map_put(&source->peers, target->number, talk);
    if (err == PN_OK)
        err = pn_map_put(&target->peers, source->number, talk);
    if (err < 0) {
        (void)pn_map_take(&source->peers, target->number);
        pn_free(talk);
    }
    return err;
}

void
pn_router_remove(pn_router *router, uint64_t number)
{
    pn_route *route = pn_map_take(&router->routes, number);
    if (route != NULL)
        free_route(route);
}

bool
pn_router_check(const pn_router *router)
{
    size_t routes = 0, peers;
    const pn_map_entry *entry, *peer;
    while ((entry = pn_map_next(&router->routes, &routes)) != NULL) {
        const pn_route *route = entry->value;
        if (route->number != entry->key || !pn_map_check(&route->peers))
            return false;
        peers = 0;
        while ((peer = pn_map_next(&route->peers, &peers)) != NULL) {
            const pn_talk *talk = peer->value;
            const pn_route *other = other_end(talk, route);
            if (pn_router_find(router, peer->key) != other ||
                pn_router_talk(other, route) != talk)
                return false;
        }
    }
    return pn_map_check(&router->routes);
}
