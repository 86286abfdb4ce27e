/* Routes and who has talked with whom, against a matrix. */
#include "check.h"

#include "base/status.h"
#include "mailbox/router.h"

#define ACTORS 24

static int links[4]; /* what the routes point to */

static void
test_unknown_actor_has_no_route(void)
{
    pn_router router = {0};
    CHECK(pn_router_find(&router, 1) == NULL);
    pn_router_remove(&router, 1);
    CHECK(pn_router_check(&router));
    pn_router_free(&router);
    CHECK_INT(live_blocks(), 0);
}

static void
test_added_route_is_found_and_its_link_replaced(void)
{
    pn_router router = {0};
    CHECK_INT(pn_router_add(&router, 7, &links[0]), PN_OK);
    pn_route *route = pn_router_find(&router, 7);
    CHECK(route != NULL && route->link == &links[0] && route->number == 7);
    CHECK_INT(pn_router_add(&router, 7, &links[1]), PN_OK);
    CHECK(pn_router_find(&router, 7) == route);
    CHECK(route->link == &links[1]);
    pn_router_remove(&router, 7);
    CHECK(pn_router_find(&router, 7) == NULL);
    pn_router_free(&router);
    CHECK_INT(live_blocks(), 0);
}

static void
test_talking_is_mutual_and_ends_with_either(void)
{
    pn_router router = {0};
    for (uint64_t number = 1; number <= 3; number++)
        CHECK_INT(pn_router_add(&router, number, &links[0]), PN_OK);
    pn_route *one = pn_router_find(&router, 1);
    pn_route *two = pn_router_find(&router, 2);
    pn_route *three = pn_router_find(&router, 3);
    CHECK_INT(pn_router_note_talk(one, two), PN_OK);
    CHECK_INT(pn_router_note_talk(two, one), PN_OK);
    CHECK_INT(pn_router_note_talk(three, one), PN_OK);
    CHECK_INT(one->peers.count, 2);
    pn_talk *talk = pn_router_talk(two, one);
    CHECK(talk != NULL && pn_router_talk(one, two) == talk);
    CHECK(talk->ends[0] == one && talk->ends[1] == two);
    CHECK(pn_pair_may_meet(&talk->pair, 0));
    CHECK(pn_router_talk(two, three) == NULL);
    pn_router_remove(&router, 1);
    CHECK_INT(two->peers.count, 0);
    CHECK_INT(three->peers.count, 0);
    CHECK(pn_router_check(&router));
    pn_router_free(&router);
    CHECK_INT(live_blocks(), 0);
}

static void
test_actor_that_talks_to_itself_is_not_its_peer(void)
{
    pn_router router = {0};
    CHECK_INT(pn_router_add(&router, 1, &links[0]), PN_OK);
    pn_route *route = pn_router_find(&router, 1);
    CHECK_INT(pn_router_note_talk(route, route), PN_OK);
    CHECK_INT(route->peers.count, 0);
    pn_router_remove(&router, 1);
    pn_router_free(&router);
    CHECK_INT(live_blocks(), 0);
}

/* Two routes that talk, or nothing; false if memory ran out. */
static bool
add_pair(pn_router *router)
{
    if (pn_router_add(router, 1, &links[0]) < 0 ||
        pn_router_add(router, 2, &links[0]) < 0)
        return false;
    return pn_router_note_talk(pn_router_find(router, 1),
                               pn_router_find(router, 2)) == PN_OK;
}

static void
test_without_memory_nothing_changes(void)
{
    bool done = false;
    long n;
    for (n = 0; !done; n++) {
        pn_router router = {0};
        fail_after(n);
        done = add_pair(&router);
        fail_never();
        CHECK(pn_router_check(&router));
        pn_route *one = pn_router_find(&router, 1);
        if (one != NULL)
            CHECK_INT(one->peers.count, done ? 1 : 0);
        CHECK(add_pair(&router));
        CHECK(pn_router_check(&router));
        pn_router_free(&router);
        CHECK_INT(live_blocks(), 0);
    }
    CHECK_INT(n - 1, 6); /* two routes, their table, a talk, its two tables */
}

typedef struct {
    bool known[ACTORS];
    bool talked[ACTORS][ACTORS];
} model;

static void
check_same(const pn_router *router, const model *m)
{
    CHECK(pn_router_check(router));
    for (size_t a = 0; a < ACTORS; a++) {
        const pn_route *route = pn_router_find(router, a);
        CHECK_INT(route != NULL, m->known[a]);
        for (size_t b = 0; route != NULL && b < ACTORS; b++)
            CHECK_INT(pn_map_get(&route->peers, b) != NULL, m->talked[a][b]);
    }
}

static void
step(pn_router *router, model *m, test_random *random)
{
    size_t a = test_random_next(random) % ACTORS;
    size_t b = test_random_next(random) % ACTORS;
    if (!m->known[a]) {
        CHECK_INT(pn_router_add(router, a, &links[b % 4]), PN_OK);
        m->known[a] = true;
    } else if (test_random_next(random) % 8 == 0) {
        pn_router_remove(router, a);
        m->known[a] = false;
        for (b = 0; b < ACTORS; b++)
            m->talked[a][b] = m->talked[b][a] = false;
    } else if (m->known[b]) {
        CHECK_INT(pn_router_note_talk(pn_router_find(router, a),
                                      pn_router_find(router, b)),
                  PN_OK);
        m->talked[a][b] = m->talked[b][a] = a != b;
    }
}

static void
test_random_schedule_agrees_with_a_matrix(void)
{
    pn_router router = {0};
    static model m;
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 5000; i++) {
        step(&router, &m, &random);
        check_same(&router, &m);
    }
    pn_router_free(&router);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_unknown_actor_has_no_route);
    RUN(test_added_route_is_found_and_its_link_replaced);
    RUN(test_talking_is_mutual_and_ends_with_either);
    RUN(test_actor_that_talks_to_itself_is_not_its_peer);
    RUN(test_without_memory_nothing_changes);
    RUN(test_random_schedule_agrees_with_a_matrix);
    return 0;
}
