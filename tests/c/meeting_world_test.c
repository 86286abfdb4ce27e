/* Two nodes and their arbiter, with all that lies between them as queues of
 * words: whatever the schedule, and whatever is lost, each ask is begun once
 * at most, in the order of asking, and every ask ends. */
#include "check.h"

#include "base/status.h"
#include "mailbox/meeting.h"

enum { ASKS = 100, QUEUE = 1024, KERNEL = 5 };

typedef enum { ASK, REPLY, SWITCH, HELLO, LINK, FAREWELL, DOWN } word_kind;

typedef enum { CLOSED, PASSED, OPEN } end_state;

typedef struct {
    word_kind kind;
    uint64_t id; /* of an ask; else the link's number */
    bool given;  /* LINK: its descriptor came along */
    pn_farewell farewell;
} word_t;

typedef struct {
    word_t words[QUEUE];
    size_t first, last;
} queue_t;

typedef struct node {
    pn_meeting meeting;
    struct node *other;
    queue_t up;             /* to the arbiter */
    queue_t down, urgent;   /* from it, in two lanes */
    queue_t outbox, kernel; /* of its end; the other reads `kernel` */
    end_state state;        /* of its end */
    bool shut;              /* nothing follows in `kernel` */
    bool dead, widowed;
    uint64_t asked, begun, asked_before;
    bool waits[ASKS + 1];
    unsigned failed, direct;
} node;

typedef struct {
    node nodes[2];
    pn_pair pair;
    uint64_t links;
    int64_t now;
    test_random random;
    bool rude;  /* links end for no reason */
    bool lossy; /* links cannot be made, descriptors get lost */
    bool buried;
} world;

static void
push(queue_t *queue, word_t word)
{
    if (queue->first == queue->last)
        queue->first = queue->last = 0;
    CHECK(queue->last < QUEUE);
    queue->words[queue->last++] = word;
}

static bool
pop(queue_t *queue, word_t *out)
{
    if (queue->first == queue->last)
        return false;
    *out = queue->words[queue->first++];
    return true;
}

static size_t
length(const queue_t *queue)
{
    return queue->last - queue->first;
}

static bool
chance(world *w, unsigned of)
{
    return test_random_next(&w->random) % of == 0;
}

static void
end_link(node *n)
{
    CHECK(n->state != CLOSED || n->meeting.greeted == false);
    n->state = CLOSED;
    n->outbox.first = n->outbox.last;
    n->asked_before = n->asked;
    pn_farewell farewell = pn_meeting_end(&n->meeting);
    push(&n->up, (word_t){FAREWELL, farewell.link, false, farewell});
}

static void
say(node *n, word_kind kind, uint64_t id)
{
    word_t word = {.kind = kind, .id = id};
    push(n->meeting.speaks ? &n->outbox : &n->up, word);
}

static void
fail_asks(node *n, uint64_t until)
{
    for (uint64_t id = 1; id <= until; id++) {
        n->failed += n->waits[id];
        n->waits[id] = false;
    }
}

static void
handle(node *n, const word_t *word)
{
    if (word->kind == REPLY) {
        n->waits[word->id] = false;
        return;
    }
    CHECK_INT(word->kind, ASK);
    CHECK(word->id > n->begun); /* in order, and once */
    n->begun = word->id;
    say(n, REPLY, word->id);
}

/* --- the link --- */

static void
flush(node *n)
{
    word_t word;
    while (n->state == OPEN && n->other->state != CLOSED &&
           length(&n->kernel) < KERNEL && pop(&n->outbox, &word))
        push(&n->kernel, word);
}

/* Say that nothing follows, if there is room for that at once. */
static bool
leave(node *n)
{
    flush(n);
    if (n->state != OPEN || length(&n->outbox) > 0 ||
        length(&n->kernel) >= KERNEL || n->other->state == CLOSED)
        return false;
    push(&n->kernel, (word_t){.kind = SWITCH, .id = n->meeting.link});
    n->shut = true;
    pn_meeting_leave(&n->meeting);
    return true;
}

static void
settle(node *n)
{
    CHECK(pn_meeting_check(&n->meeting));
    if (pn_meeting_must_leave(&n->meeting))
        (void)leave(n);
    if (pn_meeting_is_over(&n->meeting))
        end_link(n);
}

/* Read one word of the link. Whether there was one, or its end. */
static bool
read_link(node *n)
{
    word_t word;
    bool reads =
        n->meeting.hears ? !n->meeting.heard_all : !n->meeting.greeted;
    if (n->state != OPEN || !reads)
        return false;
    if (!pop(&n->other->kernel, &word)) {
        if (n->other->state != CLOSED && !n->other->shut)
            return false;
        end_link(n);
    } else if (word.kind == HELLO) {
        CHECK_INT(pn_meeting_greet(&n->meeting), PN_OK);
        push(&n->up, (word_t){.kind = SWITCH, .id = n->meeting.link});
        pn_meeting_speak(&n->meeting);
    } else if (word.kind == SWITCH) {
        CHECK_INT(pn_meeting_hear_end(&n->meeting), PN_OK);
    } else {
        n->direct++;
        handle(n, &word);
    }
    settle(n);
    return true;
}

/* What is relayed comes behind all that the link holds. */
static void
read_to_the_end(node *n)
{
    uint64_t link = n->meeting.link;
    while (link != 0 && n->meeting.link == link && n->meeting.hears &&
           !n->meeting.heard_all)
        CHECK(read_link(n));
}

/* --- words from the arbiter --- */

static void
receive_link(node *n, const word_t *word)
{
    CHECK_INT(pn_meeting_begin(&n->meeting, word->id), PN_OK);
    if (!word->given) {
        end_link(n);
        return;
    }
    n->state = OPEN;
    push(&n->outbox, (word_t){.kind = HELLO});
    flush(n);
}

static void
receive_farewell(node *n, const word_t *word)
{
    if (n->meeting.link == word->id)
        read_to_the_end(n);
    if (n->meeting.link == word->id)
        end_link(n);
    if (pn_meeting_farewell(&n->meeting, &word->farewell))
        fail_asks(n, n->asked_before);
}

static void
receive_down(node *n)
{
    read_to_the_end(n);
    if (n->meeting.link != 0)
        end_link(n);
    fail_asks(n, n->asked);
    n->widowed = true;
}

static bool
receive(node *n)
{
    word_t word;
    if (!pop(&n->urgent, &word) && !pop(&n->down, &word))
        return false;
    if (word.kind == LINK)
        receive_link(n, &word);
    else if (word.kind == FAREWELL)
        receive_farewell(n, &word);
    else if (word.kind == DOWN)
        receive_down(n);
    else if (word.kind == SWITCH)
        (void)pn_meeting_hear(&n->meeting, word.id);
    else {
        read_to_the_end(n);
        handle(n, &word);
    }
    return true;
}

/* --- the arbiter --- */

static void
introduce(world *w)
{
    if (!pn_pair_may_meet(&w->pair, w->now) || w->nodes[0].dead ||
        w->nodes[1].dead)
        return;
    if (w->lossy && chance(w, 3)) {
        pn_pair_failed(&w->pair, w->now);
        return;
    }
    pn_pair_met(&w->pair, ++w->links, w->now);
    for (int i = 0; i < 2; i++) {
        bool given = !(w->lossy && chance(w, 4));
        word_t word = {.kind = LINK, .id = w->links, .given = given};
        CHECK_INT(w->nodes[i].state, CLOSED);
        w->nodes[i].state = given ? PASSED : CLOSED;
        w->nodes[i].shut = false;
        w->nodes[i].kernel.first = w->nodes[i].kernel.last;
        push(&w->nodes[i].urgent, word);
    }
}

static bool
relay(world *w, int end)
{
    word_t word;
    node *to = w->nodes[end].other;
    if (!pop(&w->nodes[end].up, &word))
        return false;
    if (word.kind == FAREWELL) {
        if (pn_pair_closed(&w->pair, end, &word.farewell, w->now))
            push(&to->urgent, word);
        return true;
    }
    if (word.kind != SWITCH)
        introduce(w);
    push(&to->down, word);
    return true;
}

static void
kill(world *w, int end)
{
    node *n = &w->nodes[end];
    n->dead = true;
    n->state = CLOSED;
    n->outbox.first = n->outbox.last;
    n->urgent.first = n->urgent.last;
    n->down.first = n->down.last;
}

/* Behind all that it said. */
static void
bury(world *w, int end)
{
    node *n = &w->nodes[end];
    if (!n->dead || w->buried || length(&n->up) > 0)
        return;
    w->buried = true;
    push(&n->other->down, (word_t){.kind = DOWN});
}

/* --- runs --- */

static bool
move(world *w, int end, unsigned what)
{
    node *n = &w->nodes[end];
    if (what == 0)
        return relay(w, end);
    if (n->dead)
        return false;
    if (what == 1)
        return receive(n);
    if (what == 2)
        return read_link(n);
    size_t before = length(&n->outbox);
    flush(n);
    settle(n);
    return length(&n->outbox) < before;
}

static void
ask(node *n)
{
    if (n->dead || n->widowed || n->asked == ASKS)
        return;
    n->waits[++n->asked] = true;
    say(n, ASK, n->asked);
}

static void
act(world *w, int end)
{
    node *n = &w->nodes[end];
    pn_meeting *meeting = &n->meeting;
    if (chance(w, 3))
        ask(n);
    else if (!n->dead && chance(w, 30) && meeting->speaks && meeting->hears &&
             !meeting->heard_all)
        (void)leave(n);
    else if (!n->dead && w->rude && chance(w, 150) && n->state == OPEN)
        end_link(n);
    else
        (void)move(w, end, (unsigned)(test_random_next(&w->random) % 4));
    w->now += PN_PAIR_WAIT;
}

/* Until nothing moves any more; then nobody waits. */
static void
calm_down(world *w)
{
    for (int idle = 0; idle < 2; idle++) {
        for (unsigned i = 0; i < 8; i++) {
            if (move(w, i % 2, i / 2))
                idle = -1;
        }
        bury(w, 0);
        bury(w, 1);
    }
    for (int end = 0; end < 2; end++) {
        const node *n = &w->nodes[end];
        CHECK(n->dead || n->asked == ASKS || n->widowed);
        for (uint64_t id = 1; id <= ASKS && !n->dead; id++)
            CHECK(!n->waits[id]);
    }
}

static world w;

static unsigned
run(uint64_t seed, bool rude, bool lossy, bool mortal)
{
    memset(&w, 0, sizeof w);
    w.random.state = seed;
    w.rude = rude;
    w.lossy = lossy;
    w.nodes[0].other = &w.nodes[1];
    w.nodes[1].other = &w.nodes[0];
    unsigned death = mortal ? 100 + (unsigned)(seed % 900) : 0;
    for (unsigned i = 1; i < 5000; i++) {
        if (i == death)
            kill(&w, (int)(seed >> 20 & 1));
        act(&w, (int)chance(&w, 2));
        bury(&w, 0);
        bury(&w, 1);
    }
    calm_down(&w);
    unsigned failed = w.nodes[0].failed + w.nodes[1].failed;
    CHECK(rude || mortal || failed == 0);
    return w.nodes[0].direct + w.nodes[1].direct;
}

static void
test_every_schedule_keeps_order_and_ends_every_ask(void)
{
    uint64_t direct[8] = {0};
    test_random seeds;
    test_random_init(&seeds);
    for (int i = 0; i < 4000; i++) {
        uint64_t seed = test_random_next(&seeds);
        direct[i % 8] += run(seed, i & 1, (i & 2) != 0, (i & 4) != 0);
    }
    for (int i = 0; i < 8; i++) {
        printf("world %d: %llu direct\n", i, (unsigned long long)direct[i]);
        CHECK(direct[i] > 1000);
    }
}

int
main(void)
{
    RUN(test_every_schedule_keeps_order_and_ends_every_ask);
    return 0;
}
