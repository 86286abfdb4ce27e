/* The flight recorder: what one process writes another reads, at any moment
 * and also when the writer was killed. */
#include "check.h"

#include "base/status.h"
#include "sys/clock.h"
#include "sys/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const pn_envelope ask = {
    .kind = PN_ASK,
    .source = 7,
    .target = 9,
    .id = 11,
    .command = "a_command_of_a_long_name",
    .command_size = 24,
};

static pn_recorder
made(void)
{
    pn_recorder recorder;
    CHECK_INT(pn_recorder_make(&recorder), 0);
    return recorder;
}

/* The same page, as another process has it. */
static pn_recorder
seen(const pn_recorder *recorder)
{
    pn_recorder other;
    CHECK_INT(pn_recorder_open(&other, dup(recorder->fd)), 0);
    return other;
}

static void
test_records_are_read_as_they_were_written(void)
{
    pn_recorder writer = made(), reader = seen(&writer);
    pn_recorder_record record;
    CHECK_INT(pn_recorder_read(&reader, 0, &record), PN_MORE);
    pn_recorder_write(writer.page, PN_RECORD_SENT, 5, &ask, 100);
    CHECK_INT(pn_recorder_read(&reader, 0, &record), PN_OK);
    CHECK_INT(record.index, 0);
    CHECK_INT(record.time, 5);
    CHECK_INT(record.source, 7);
    CHECK_INT(record.target, 9);
    CHECK_INT(record.id, 11);
    CHECK_INT(record.size, 100);
    CHECK_INT(record.kind, PN_ASK);
    CHECK_INT(record.what, PN_RECORD_SENT);
    CHECK(strcmp(record.name, "a_command_of_a_l") == 0);
    CHECK_INT(pn_recorder_read(&reader, 1, &record), PN_MORE);
    pn_recorder_close(&writer);
    CHECK_INT(pn_recorder_read(&reader, 0, &record), PN_OK);
    pn_recorder_close(&reader);
}

static void
test_the_latest_records_are_kept(void)
{
    pn_recorder recorder = made();
    pn_recorder_record record;
    uint64_t count = 2 * PN_RECORDER_RECORDS + 10;
    for (uint64_t i = 0; i < count; i++) {
        pn_envelope env = {.kind = PN_REPLY, .id = i};
        pn_recorder_write(recorder.page, PN_RECORD_RECEIVED, 1, &env,
                          env.size);
    }
    uint64_t oldest = pn_recorder_oldest(count);
    CHECK_INT(oldest, count - PN_RECORDER_RECORDS);
    CHECK_INT(pn_recorder_read(&recorder, oldest - 1, &record), PN_ECLOSED);
    for (uint64_t i = oldest; i < count; i++) {
        CHECK_INT(pn_recorder_read(&recorder, i, &record), PN_OK);
        CHECK(record.id == i && record.name[0] == 0);
    }
    pn_recorder_close(&recorder);
}

static void
test_sizes_over_what_a_record_holds_are_its_most(void)
{
    pn_recorder recorder = made();
    pn_recorder_record record;
    pn_envelope env = {.kind = PN_TELL, .size = (uint64_t)1 << 40};
    pn_recorder_write(recorder.page, PN_RECORD_SENT, 1, &env, env.size);
    CHECK_INT(pn_recorder_read(&recorder, 0, &record), PN_OK);
    CHECK_INT(record.size, UINT32_MAX);
    pn_recorder_close(&recorder);
}

/* Oracle: of a record that is read, all parts are of one writing. */
static void *
write_many(void *page)
{
    for (uint64_t i = 0; i < 50000; i++) {
        pn_envelope env = {.kind = PN_TELL, .source = i, .target = i, .id = i};
        pn_recorder_write(page, PN_RECORD_SENT, (int64_t)i, &env, env.size);
    }
    return NULL;
}

static uint64_t
read_all(const pn_recorder *recorder)
{
    uint64_t found = 0;
    pn_recorder_record record;
    uint64_t index = pn_recorder_oldest(pn_recorder_written(recorder));
    for (int err = PN_OK; err != PN_MORE; index++) {
        err = pn_recorder_read(recorder, index, &record);
        if (err != PN_OK)
            continue;
        CHECK(record.source == record.id && record.target == record.id &&
              (uint64_t)record.time == record.id);
        found++;
    }
    return found;
}

static void
test_no_record_is_read_torn(void)
{
    pn_recorder recorder = made();
    pthread_t writers[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&writers[i], NULL, write_many, recorder.page) ==
              0);
    while (atomic_load(&recorder.page->written) < 3 * 50000)
        (void)read_all(&recorder);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(writers[i], NULL) == 0);
    CHECK_INT(read_all(&recorder), PN_RECORDER_RECORDS);
    pn_recorder_close(&recorder);
}

static void
test_a_killed_process_leaves_its_page(void)
{
    pn_recorder recorder = made();
    pn_recorder_record record;
    pn_recorder_busy busy;
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        pn_recorder_own(&recorder);
        pn_recorder_loop *loop =
            pn_recorder_enter(&recorder, 3, 1, "process", "worker");
        pn_recorder_write(recorder.page, PN_RECORD_RECEIVED, 1, &ask, 100);
        (void)pn_recorder_begin(loop, 8, 3, "loop", 4);
        (void)raise(SIGKILL);
    }
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    CHECK_INT(recorder.page->pid, pid);
    CHECK_INT(pn_recorder_read(&recorder, 0, &record), PN_OK);
    pn_recorder_loop *loop = pn_recorder_find(&recorder, 3);
    CHECK(loop != NULL && strcmp(loop->name, "worker") == 0);
    CHECK(strcmp(loop->kind, "process") == 0 && loop->manager == 1);
    CHECK_INT(loop->thread, pid);
    CHECK(pn_recorder_is_busy(loop, &busy));
    CHECK(busy.began == 8 && busy.actor == 3);
    CHECK(strcmp(busy.command, "loop") == 0);
    pn_recorder_close(&recorder);
}

static void
test_a_plain_function_is_seen_while_it_runs(void)
{
    pn_recorder recorder = made();
    pn_recorder_busy busy;
    pn_recorder_loop *loop = pn_recorder_enter(&recorder, 1, 0, "", "");
    CHECK(!pn_recorder_is_busy(loop, &busy));
    CHECK(pn_recorder_begin(loop, 4, 1, ask.command, ask.command_size));
    CHECK(pn_recorder_is_busy(loop, &busy) && busy.began == 4);
    CHECK(strcmp(busy.command, ask.command) == 0);
    CHECK(!pn_recorder_begin(loop, 5, 1, "inner", 5)); /* within it */
    CHECK(pn_recorder_is_busy(loop, &busy) && busy.began == 4);
    pn_recorder_end(loop);
    CHECK(!pn_recorder_is_busy(loop, &busy));
    CHECK_INT(loop->handled, 1);
    pn_recorder_close(&recorder);
}

/* --- fuses --- */

static const pn_recorder_ask its = {7, 11};

static void
test_a_fuse_burns_until_it_is_put_out(void)
{
    pn_recorder writer = made(), reader = seen(&writer);
    pn_recorder_ask begun[PN_RECORDER_BEGUN + 1];
    CHECK_INT(pn_recorder_begun(&reader, begun), -1);
    uint64_t first = pn_recorder_light(writer.page, its, NULL, 0);
    CHECK(first != 0);
    CHECK_INT(pn_recorder_begun(&reader, begun), 1);
    CHECK_INT(begun[0].source, 7);
    CHECK_INT(begun[0].id, 11);
    CHECK(pn_recorder_put_out(writer.page, first));
    CHECK_INT(pn_recorder_begun(&reader, begun), -1);
    CHECK(pn_recorder_light(writer.page, its, NULL, 0) != first);
    pn_recorder_close(&writer);
    pn_recorder_close(&reader);
}

static void
test_what_has_begun_is_told_if_it_fits(void)
{
    pn_recorder recorder = made();
    pn_recorder_ask asks[PN_RECORDER_BEGUN + 1], begun[PN_RECORDER_BEGUN + 1];
    for (uint64_t i = 0; i <= PN_RECORDER_BEGUN; i++)
        asks[i] = (pn_recorder_ask){3, i + 100};
    uint64_t fuse =
        pn_recorder_light(recorder.page, its, asks, PN_RECORDER_BEGUN);
    CHECK_INT(pn_recorder_begun(&recorder, begun), PN_RECORDER_BEGUN + 1);
    CHECK_INT(begun[PN_RECORDER_BEGUN].id, PN_RECORDER_BEGUN + 99);
    CHECK(pn_recorder_put_out(recorder.page, fuse));
    fuse = pn_recorder_light(recorder.page, its, asks, PN_RECORDER_BEGUN + 1);
    CHECK_INT(pn_recorder_begun(&recorder, begun), -1);
    CHECK(pn_recorder_put_out(recorder.page, fuse));
    (void)pn_recorder_light(recorder.page, its, NULL, PN_RECORDER_UNKNOWN);
    CHECK_INT(pn_recorder_begun(&recorder, begun), -1);
    pn_recorder_close(&recorder);
}

static void
test_only_what_runs_for_who_is_gone_is_doomed(void)
{
    pn_recorder writer = made(), reader = seen(&writer);
    CHECK(!pn_recorder_doom(&reader, (pn_recorder_ask){5, 1}));
    uint64_t fuse = pn_recorder_light(writer.page, its, NULL, 0);
    CHECK(!pn_recorder_doom(&reader, (pn_recorder_ask){7, 12}));
    CHECK(!pn_recorder_doom(&reader, (pn_recorder_ask){8, 11}));
    CHECK(!pn_recorder_doom(&reader, (pn_recorder_ask){8, 0}));
    CHECK(pn_recorder_put_out(writer.page, fuse));
    fuse = pn_recorder_light(writer.page, (pn_recorder_ask){7, 13}, NULL, 0);
    CHECK(pn_recorder_doom(&reader, (pn_recorder_ask){7, 13}));
    CHECK(!pn_recorder_doom(&reader, (pn_recorder_ask){7, 13})); /* once */
    CHECK(!pn_recorder_put_out(writer.page, fuse));
    pn_recorder_close(&writer);
    pn_recorder_close(&reader);
}

static void
test_nothing_begins_for_who_is_gone(void)
{
    pn_recorder recorder = made();
    uint64_t far = ((uint64_t)4 << PN_NODE_BITS) | 9;
    CHECK(!pn_recorder_doom(&recorder, its));
    CHECK_INT(pn_recorder_light(recorder.page, its, NULL, 0), 0);
    CHECK(!pn_recorder_doom(&recorder, (pn_recorder_ask){9, 0}));
    pn_recorder_ask its_actor = {far, 70}, other = {10, 70};
    CHECK_INT(pn_recorder_light(recorder.page, its_actor, NULL, 0), 0);
    uint64_t fuse = pn_recorder_light(recorder.page, other, NULL, 0);
    CHECK(fuse != 0);
    CHECK(pn_recorder_put_out(recorder.page, fuse));
    for (uint64_t i = 0; i < PN_RECORDER_GONE; i++)
        CHECK(!pn_recorder_doom(&recorder, (pn_recorder_ask){20, i + 1}));
    CHECK_INT(
        pn_recorder_light(recorder.page, (pn_recorder_ask){20, 16}, NULL, 0),
        0);
    CHECK(pn_recorder_light(recorder.page, its, NULL, 0) != 0);
    pn_recorder_close(&recorder);
}

enum { RACES = 50000 };

/* One ask after the other, which one thread runs and the other gives up. */
static struct {
    pn_recorder recorder; /* as the other has it */
    _Atomic uint64_t run, given_up;
    bool doomed;
} race;

static void *
give_up_each(void *unused)
{
    for (uint64_t i = 1; i <= RACES; i++) {
        while (atomic_load(&race.run) < i)
            (void)sched_yield();
        race.doomed =
            pn_recorder_doom(&race.recorder, (pn_recorder_ask){7, i});
        atomic_store(&race.given_up, i);
    }
    return unused;
}

/* It is doomed, never begins, or has ended before: both sides say the same. */
static void
test_no_ask_that_was_given_up_runs_on(void)
{
    pn_recorder writer = made();
    pthread_t other;
    size_t doomed = 0, unbegun = 0;
    race.recorder = seen(&writer);
    CHECK(pthread_create(&other, NULL, give_up_each, NULL) == 0);
    for (uint64_t i = 1; i <= RACES; i++) {
        atomic_store(&race.run, i);
        for (volatile uint64_t wait = 0; wait < i % 256; wait++)
            ;
        uint64_t fuse =
            pn_recorder_light(writer.page, (pn_recorder_ask){7, i}, NULL, 0);
        for (volatile uint64_t wait = 0; wait < i % 64; wait++)
            ;
        bool well = fuse == 0 || pn_recorder_put_out(writer.page, fuse);
        while (atomic_load(&race.given_up) < i)
            (void)sched_yield();
        CHECK_INT(race.doomed, !well);
        atomic_store(&writer.page->fuse.burns, 0); /* as if it lived on */
        doomed += !well;
        unbegun += fuse == 0;
    }
    CHECK(pthread_join(other, NULL) == 0);
    printf("of %d, %zu doomed, %zu not begun\n", RACES, doomed, unbegun);
    pn_recorder_close(&writer);
    pn_recorder_close(&race.recorder);
}

static void
test_beats_count_turns(void)
{
    pn_recorder recorder = made();
    pn_recorder_loop *loop = pn_recorder_enter(&recorder, 1, 0, "", "");
    CHECK(!pn_recorder_is_asleep(loop)); /* it has not told anything */
    pn_recorder_beat(loop, 5);
    CHECK(loop->beats == 1 && loop->awake == 5);
    CHECK(!pn_recorder_is_asleep(loop));
    pn_recorder_sleep(loop);
    CHECK(loop->beats == 1 && loop->awake == 0);
    CHECK(pn_recorder_is_asleep(loop));
    pn_recorder_turn(loop, 7);
    CHECK(loop->beats == 2 && loop->awake == 0 && loop->turned == 7);
    CHECK(!pn_recorder_is_asleep(loop)); /* it only tells of ends of turns */
    pn_recorder_close(&recorder);
}

static void
test_loops_are_given_back(void)
{
    pn_recorder recorder = made();
    pn_recorder_loop *loop = NULL;
    char text[100];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (uint64_t i = 1; i <= PN_RECORDER_LOOPS; i++) {
        loop = pn_recorder_enter(&recorder, i, 0, text, text);
        CHECK(loop != NULL && pn_recorder_find(&recorder, i) == loop);
        CHECK_INT(strlen(loop->kind), sizeof loop->kind - 1);
        CHECK_INT(strlen(loop->name), sizeof loop->name - 1);
    }
    CHECK(pn_recorder_enter(&recorder, 100, 0, "", "") == NULL);
    (void)pn_recorder_begin(loop, 1, 1, "last", 4);
    pn_recorder_leave(loop);
    CHECK(pn_recorder_find(&recorder, PN_RECORDER_LOOPS) == NULL);
    CHECK(pn_recorder_enter(&recorder, 100, 0, "", "") == loop);
    pn_recorder_busy busy;
    CHECK(!pn_recorder_is_busy(loop, &busy) && loop->name[0] == 0);
    pn_recorder_close(&recorder);
}

static void
test_stacks_are_appended_and_read(void)
{
    pn_recorder recorder = made();
    char path[40], text[16];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", recorder.fd);
    int writer = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(writer >= 0);
    CHECK_INT(pn_recorder_stacks_size(&recorder), 0);
    CHECK_INT(write(writer, "first", 5), 5);
    CHECK_INT(pn_recorder_stacks_size(&recorder), 5);
    CHECK_INT(pn_recorder_read_stacks(&recorder, 0, text, sizeof text), 5);
    CHECK(memcmp(text, "first", 5) == 0);
    CHECK_INT(write(writer, "second", 6), 6);
    CHECK_INT(pn_recorder_read_stacks(&recorder, 5, text, sizeof text), 6);
    CHECK(memcmp(text, "second", 6) == 0);
    pn_recorder_drop_stacks(&recorder);
    CHECK_INT(pn_recorder_stacks_size(&recorder), 11);
    CHECK_INT(pn_recorder_read_stacks(&recorder, 0, text, sizeof text), 11);
    CHECK_INT(text[0], 0);
    close(writer);
    pn_recorder_close(&recorder);
}

static void
test_what_is_no_recorder_is_refused(void)
{
    pn_recorder recorder = made(), other;
    int pair[2];
    CHECK(pipe2(pair, O_CLOEXEC) == 0);
    CHECK_INT(pn_recorder_open(&other, pair[0]), PN_EPROTO);
    int file = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK_INT(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL), 0);
    CHECK_INT(pn_recorder_open(&other, file), PN_EPROTO);
    CHECK_INT(ftruncate(file, PN_RECORDER_SIZE), 0);
    CHECK_INT(pn_recorder_open(&other, file), PN_EPROTO);
    CHECK_INT(ftruncate(recorder.fd, 4096), -1);
    recorder.page->version++;
    CHECK_INT(pn_recorder_open(&other, recorder.fd), PN_EVERSION);
    close(pair[0]);
    close(pair[1]);
    close(file);
    pn_recorder_close(&recorder);
    pn_recorder_close(&recorder); /* harmless */
}

static void
test_without_descriptors_there_is_none(void)
{
    struct rlimit before;
    pn_recorder recorder;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_INT(pn_recorder_make(&recorder), -EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

/* What a record costs, for the eye: nothing depends on it. */
static void
print_cost(void)
{
    enum { ROUNDS = 2000000 };
    pn_recorder recorder = made();
    pn_recorder_loop *loop = pn_recorder_enter(&recorder, 1, 0, "", "");
    int64_t start = pn_clock_now();
    for (int i = 0; i < ROUNDS; i++)
        pn_recorder_write(recorder.page, PN_RECORD_SENT, i, &ask, 100);
    int64_t wrote = pn_clock_now();
    for (int i = 0; i < ROUNDS; i++) {
        (void)pn_recorder_begin(loop, i, 1, ask.command, ask.command_size);
        pn_recorder_end(loop);
    }
    int64_t ran = pn_clock_now();
    for (int i = 0; i < ROUNDS / 10; i++)
        (void)pn_clock_now();
    int64_t looked = pn_clock_now();
    printf("a record %.1f ns, a function %.1f ns, the clock %.1f ns\n",
           (double)(wrote - start) / ROUNDS, (double)(ran - wrote) / ROUNDS,
           (double)(looked - ran) / ROUNDS * 10);
    pn_recorder_close(&recorder);
}

int
main(void)
{
    RUN(test_records_are_read_as_they_were_written);
    RUN(test_the_latest_records_are_kept);
    RUN(test_sizes_over_what_a_record_holds_are_its_most);
    RUN(test_no_record_is_read_torn);
    RUN(test_a_killed_process_leaves_its_page);
    RUN(test_a_plain_function_is_seen_while_it_runs);
    RUN(test_a_fuse_burns_until_it_is_put_out);
    RUN(test_what_has_begun_is_told_if_it_fits);
    RUN(test_only_what_runs_for_who_is_gone_is_doomed);
    RUN(test_nothing_begins_for_who_is_gone);
    RUN(test_no_ask_that_was_given_up_runs_on);
    RUN(test_beats_count_turns);
    RUN(test_loops_are_given_back);
    RUN(test_stacks_are_appended_and_read);
    RUN(test_what_is_no_recorder_is_refused);
    RUN(test_without_descriptors_there_is_none);
    RUN(print_cost);
    return 0;
}
