/* Messages that wait, against a plain array in the order of their coming. */
#include "check.h"

#include "base/status.h"
#include "mailbox/waiting.h"

#define ENTRIES 5000

/* The model: what stands there, the oldest first, and whose turn it is. */
typedef struct {
    pn_waiting_entry *entries[ENTRIES];
    size_t count;
    uint64_t round[ENTRIES]; /* sources; the first one's turn is next */
    size_t sources;
} model;

/* Index of the first entry of source with that id (0: any); count if none. */
static size_t
model_find(const model *m, uint64_t source, uint64_t id)
{
    size_t i = 0;
    while (i < m->count && (m->entries[i]->source != source ||
                            (id != 0 && m->entries[i]->id != id)))
        i++;
    return i;
}

static void
model_put(model *m, pn_waiting_entry *entry)
{
    if (model_find(m, entry->source, 0) == m->count)
        m->round[m->sources++] = entry->source;
    m->entries[m->count++] = entry;
}

static void
leave_round(model *m, uint64_t source)
{
    size_t i = 0;
    while (m->round[i] != source)
        i++;
    m->sources--;
    memmove(&m->round[i], &m->round[i + 1],
            (m->sources - i) * sizeof *m->round);
}

/* Take entry i; NULL if there is none. */
static pn_waiting_entry *
model_take_at(model *m, size_t i)
{
    if (i >= m->count)
        return NULL;
    pn_waiting_entry *entry = m->entries[i];
    m->count--;
    memmove(&m->entries[i], &m->entries[i + 1],
            (m->count - i) * sizeof(entry));
    if (model_find(m, entry->source, 0) == m->count)
        leave_round(m, entry->source);
    return entry;
}

static pn_waiting_entry *
model_take(model *m)
{
    if (m->sources == 0)
        return NULL;
    uint64_t source = m->round[0];
    leave_round(m, source);
    m->round[m->sources++] = source;
    return model_take_at(m, model_find(m, source, 0));
}

static void
check_same(const pn_waiting *waiting, const model *m)
{
    size_t bytes = 0;
    for (size_t i = 0; i < m->count; i++)
        bytes += m->entries[i]->bytes;
    CHECK(pn_waiting_check(waiting));
    CHECK_INT(waiting->count, m->count);
    CHECK_INT(waiting->bytes, bytes);
    CHECK(pn_waiting_oldest(waiting) == (m->count > 0 ? m->entries[0] : NULL));
}

static pn_waiting_entry
make_entry(uint64_t source, uint64_t id)
{
    return (pn_waiting_entry){.source = source, .id = id, .bytes = id + 1};
}

static void
take_something(pn_waiting *waiting, model *m, test_random *random,
               uint64_t sources, uint64_t ids)
{
    uint64_t choice = test_random_next(random) % 8;
    uint64_t source = test_random_next(random) % sources;
    uint64_t id = 1 + test_random_next(random) % ids;
    if (choice == 0)
        CHECK(pn_waiting_take_oldest(waiting) == model_take_at(m, 0));
    else if (choice < 4)
        CHECK(pn_waiting_take_ask(waiting, source, id) ==
              model_take_at(m, model_find(m, source, id)));
    else
        CHECK(pn_waiting_take(waiting) == model_take(m));
}

/* Phases of growing and of shrinking. Every third message is a tell. */
static void
run_schedule(test_random *random, uint64_t sources)
{
    static pn_waiting_entry entries[ENTRIES];
    static model m;
    pn_waiting waiting = {0};
    uint64_t put = 0;
    m.count = m.sources = 0;
    for (int step = 0; put < ENTRIES; step++) {
        bool growing = step / 300 % 2 == 0;
        if (test_random_next(random) % 8 < (growing ? 6 : 2)) {
            pn_waiting_entry *entry = &entries[put++];
            uint64_t source = test_random_next(random) % sources;
            *entry = make_entry(source, put % 3 == 0 ? 0 : put);
            CHECK_INT(pn_waiting_put(&waiting, entry), PN_OK);
            model_put(&m, entry);
        } else {
            take_something(&waiting, &m, random, sources, put + 1);
        }
        if (step % 5 == 0)
            check_same(&waiting, &m);
    }
    while (m.count > 0)
        take_something(&waiting, &m, random, sources, ENTRIES);
    check_same(&waiting, &m);
    pn_waiting_free(&waiting);
    CHECK_INT(live_blocks(), 0);
}

static void
test_random_schedule_agrees_with_an_array(void)
{
    test_random random;
    test_random_init(&random);
    run_schedule(&random, 1);
    run_schedule(&random, 2);
    run_schedule(&random, 7);
    run_schedule(&random, 1000);
}

static void
test_zeroed_one_is_empty(void)
{
    pn_waiting waiting = {0};
    CHECK(pn_waiting_check(&waiting));
    CHECK(pn_waiting_take(&waiting) == NULL);
    CHECK(pn_waiting_take_ask(&waiting, 1, 1) == NULL);
    CHECK(pn_waiting_take_oldest(&waiting) == NULL);
    CHECK(pn_waiting_oldest(&waiting) == NULL);
    pn_waiting_free(&waiting);
    pn_waiting_free(&waiting);
    CHECK_INT(live_blocks(), 0);
}

static void
put_all(pn_waiting *waiting, pn_waiting_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK_INT(pn_waiting_put(waiting, &entries[i]), PN_OK);
}

static void
test_who_sends_much_does_not_delay_who_sends_little(void)
{
    enum { MANY = 1000 };
    static pn_waiting_entry entries[MANY];
    pn_waiting waiting = {0};
    pn_waiting_entry late = make_entry(8, 1), later = make_entry(9, 1);
    for (size_t i = 0; i < MANY; i++)
        entries[i] = make_entry(7, i + 1);
    put_all(&waiting, entries, MANY);
    CHECK_INT(pn_waiting_put(&waiting, &late), PN_OK);
    CHECK(pn_waiting_take(&waiting) == &entries[0]);
    CHECK_INT(pn_waiting_put(&waiting, &later), PN_OK);
    CHECK(pn_waiting_take(&waiting) == &late);
    CHECK(pn_waiting_take(&waiting) == &entries[1]);
    CHECK(pn_waiting_take(&waiting) == &later);
    CHECK(pn_waiting_take(&waiting) == &entries[2]);
    while (pn_waiting_take(&waiting) != NULL)
        ;
    pn_waiting_free(&waiting);
    CHECK_INT(live_blocks(), 0);
}

/* Ids count for each source of its own; a tell has none. */
static void
test_only_the_ask_of_that_source_is_taken(void)
{
    pn_waiting waiting = {0};
    pn_waiting_entry entries[] = {make_entry(1, 5), make_entry(2, 5),
                                  make_entry(1, 0), make_entry(1, 6)};
    put_all(&waiting, entries, 4);
    CHECK(pn_waiting_take_ask(&waiting, 2, 6) == NULL);
    CHECK(pn_waiting_take_ask(&waiting, 3, 5) == NULL);
    CHECK(pn_waiting_take_ask(&waiting, 1, 0) == NULL);
    CHECK(pn_waiting_take_ask(&waiting, 2, 5) == &entries[1]);
    CHECK(pn_waiting_take_ask(&waiting, 2, 5) == NULL);
    CHECK(pn_waiting_take_ask(&waiting, 1, 6) == &entries[3]);
    CHECK(pn_waiting_take(&waiting) == &entries[0]);
    CHECK(pn_waiting_take_ask(&waiting, 1, 5) == NULL);
    CHECK(pn_waiting_take(&waiting) == &entries[2]);
    pn_waiting_free(&waiting);
    CHECK_INT(live_blocks(), 0);
}

static void
test_asks_with_one_id_do_no_harm(void)
{
    pn_waiting waiting = {0};
    pn_waiting_entry entries[] = {make_entry(1, 5), make_entry(1, 5),
                                  make_entry(1, 5)};
    for (int first = 0; first < 2; first++) {
        put_all(&waiting, entries, 3);
        if (first == 0)
            CHECK(pn_waiting_take(&waiting) == &entries[0]);
        else
            CHECK(pn_waiting_take_ask(&waiting, 1, 5) == &entries[0]);
        CHECK(pn_waiting_check(&waiting));
        CHECK(pn_waiting_take(&waiting) == &entries[1]);
        CHECK(pn_waiting_take_oldest(&waiting) == &entries[2]);
        CHECK(pn_waiting_check(&waiting) && waiting.count == 0);
    }
    pn_waiting_free(&waiting);
    CHECK_INT(live_blocks(), 0);
}

/* A hundred thousand that are cancelled from behind: no search. */
static void
test_many_asks_of_one_source_are_taken_from_behind(void)
{
    enum { MANY = 100000 };
    static pn_waiting_entry entries[MANY];
    pn_waiting waiting = {0};
    for (size_t i = 0; i < MANY; i++)
        entries[i] = make_entry(1, i + 1);
    put_all(&waiting, entries, MANY);
    for (size_t i = MANY; i-- > 0;)
        CHECK(pn_waiting_take_ask(&waiting, 1, i + 1) == &entries[i]);
    CHECK(pn_waiting_check(&waiting) && waiting.bytes == 0);
    pn_waiting_free(&waiting);
    CHECK_INT(live_blocks(), 0);
}

static void
test_source_that_comes_and_goes_costs_no_memory(void)
{
    pn_waiting waiting = {0};
    pn_waiting_entry entry = make_entry(1, 1);
    put_all(&waiting, &entry, 1);
    CHECK(pn_waiting_take(&waiting) == &entry);
    fail_after(0);
    for (uint64_t i = 0; i < 100; i++) {
        entry = make_entry(i, i);
        put_all(&waiting, &entry, 1);
        CHECK(pn_waiting_take(&waiting) == &entry);
    }
    fail_never();
    pn_waiting_free(&waiting);
    CHECK_INT(live_blocks(), 0);
}

/* What is full grows in several places: each may be the one that fails. */
static void
test_without_memory_nothing_changes(void)
{
    static pn_waiting_entry entries[200];
    for (long n = 0; n < 3; n++) {
        pn_waiting waiting = {0};
        size_t refused = 0;
        for (size_t i = 0; i < 200; i++) {
            entries[i] = make_entry(i % 50, i % 4);
            pn_waiting_entry *oldest = pn_waiting_oldest(&waiting);
            fail_after(n);
            int err = pn_waiting_put(&waiting, &entries[i]);
            fail_never();
            if (err == PN_OK)
                continue;
            CHECK_INT(err, PN_ENOMEM);
            CHECK_INT(waiting.count, i);
            CHECK(pn_waiting_oldest(&waiting) == oldest);
            CHECK(pn_waiting_check(&waiting));
            CHECK_INT(pn_waiting_put(&waiting, &entries[i]), PN_OK);
            refused++;
        }
        CHECK(refused > 0);
        CHECK(pn_waiting_check(&waiting));
        for (size_t i = 0; i < 200; i++)
            CHECK(pn_waiting_take_oldest(&waiting) == &entries[i]);
        pn_waiting_free(&waiting);
        CHECK_INT(live_blocks(), 0);
    }
}

int
main(void)
{
    RUN(test_zeroed_one_is_empty);
    RUN(test_who_sends_much_does_not_delay_who_sends_little);
    RUN(test_only_the_ask_of_that_source_is_taken);
    RUN(test_asks_with_one_id_do_no_harm);
    RUN(test_many_asks_of_one_source_are_taken_from_behind);
    RUN(test_source_that_comes_and_goes_costs_no_memory);
    RUN(test_without_memory_nothing_changes);
    RUN(test_random_schedule_agrees_with_an_array);
    return 0;
}
