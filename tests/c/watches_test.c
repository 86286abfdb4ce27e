#include "loop/watches.h"

#include "base/status.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    pn_watches watches;
    int pair[2];
    char reader, writer; /* their addresses wait */
} world;

static void
setup(world *w)
{
    CHECK_INT(pn_watches_init(&w->watches), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, w->pair), 0);
}

static void
teardown(world *w)
{
    close(w->pair[0]);
    close(w->pair[1]);
    pn_watches_free(&w->watches);
    CHECK_INT(live_blocks(), 0);
}

static void
add(world *w, int fd, bool writing)
{
    void *old = w;
    CHECK_INT(pn_watches_add(&w->watches, fd, writing,
                             writing ? &w->writer : &w->reader, &old),
              0);
    CHECK(old == NULL);
}

/* What a look finds: bit 1 readable, bit 2 writable; 0 nothing. */
static int
look(world *w, int fd)
{
    pn_watch_event events[PN_WATCH_EVENTS];
    int count = pn_watches_wait(&w->watches, events, 0);
    CHECK(count == 0 || count == 1);
    if (count == 0)
        return 0;
    CHECK_INT(events[0].fd, fd);
    return events[0].readable + 2 * events[0].writable;
}

static void
test_reader_and_writer_of_one_descriptor(void)
{
    world w;
    setup(&w);
    int fd = w.pair[0];
    add(&w, fd, false);
    CHECK_INT(look(&w, fd), 0);
    add(&w, fd, true);
    CHECK_INT(look(&w, fd), 2);
    CHECK_INT(write(w.pair[1], "x", 1), 1);
    CHECK_INT(look(&w, fd), 3);
    CHECK(pn_watches_get(&w.watches, fd, false) == &w.reader);
    CHECK(pn_watches_remove(&w.watches, fd, false) == &w.reader);
    CHECK(pn_watches_remove(&w.watches, fd, false) == NULL);
    CHECK_INT(look(&w, fd), 2);
    CHECK(pn_watches_remove(&w.watches, fd, true) == &w.writer);
    CHECK_INT(look(&w, fd), 0);
    teardown(&w);
}

static void
test_new_waiter_takes_the_place_of_the_old(void)
{
    world w;
    void *old;
    setup(&w);
    add(&w, w.pair[0], false);
    CHECK_INT(pn_watches_add(&w.watches, w.pair[0], false, &w.writer, &old),
              0);
    CHECK(old == &w.reader);
    CHECK(pn_watches_get(&w.watches, w.pair[0], false) == &w.writer);
    teardown(&w);
}

static void
test_end_and_error_are_told_to_both(void)
{
    world w;
    setup(&w);
    add(&w, w.pair[0], false);
    add(&w, w.pair[0], true);
    close(w.pair[1]);
    CHECK_INT(look(&w, w.pair[0]), 3);
    teardown(&w);
}

static void
test_what_cannot_be_watched_is_refused_and_forgotten(void)
{
    world w;
    void *old;
    setup(&w);
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK(file >= 0);
    CHECK_INT(pn_watches_add(&w.watches, file, false, &w.reader, &old),
              -EPERM);
    CHECK(pn_watches_get(&w.watches, file, false) == NULL);
    close(file);
    CHECK_INT(pn_watches_add(&w.watches, file, true, &w.reader, &old), -EBADF);
    CHECK(pn_watches_get(&w.watches, file, true) == NULL);
    teardown(&w);
}

/* A descriptor closed under its watch, its number used again. */
static void
test_number_used_again_is_watched_anew(void)
{
    world w;
    void *old;
    setup(&w);
    int fd = w.pair[0];
    add(&w, fd, false);
    close(fd);
    close(w.pair[1]);
    CHECK_INT(look(&w, fd), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, w.pair), 0);
    CHECK_INT(w.pair[0], fd);
    CHECK_INT(pn_watches_add(&w.watches, fd, false, &w.writer, &old), 0);
    CHECK(old == &w.reader);
    CHECK_INT(write(w.pair[1], "x", 1), 1);
    CHECK_INT(look(&w, fd), 1);
    CHECK(pn_watches_remove(&w.watches, fd, false) == &w.writer);
    close(fd);
    CHECK(pn_watches_remove(&w.watches, fd, false) == NULL);
    w.pair[0] = dup(w.pair[1]);
    teardown(&w);
}

static int64_t
now_ns(void)
{
    struct timespec t;
    CHECK_INT(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
test_wait_is_never_too_short(void)
{
    world w;
    pn_watch_event events[PN_WATCH_EVENTS];
    setup(&w);
    for (int coarse = 0; coarse < 2; coarse++) {
        w.watches.coarse = coarse;
        int64_t before = now_ns();
        CHECK_INT(pn_watches_wait(&w.watches, events, 1300000), 0);
        CHECK(now_ns() - before >= 1300000);
    }
    teardown(&w);
}

static void
on_alarm(int number)
{
    (void)number;
}

static void
test_signal_ends_the_wait(void)
{
    world w;
    pn_watch_event events[PN_WATCH_EVENTS];
    struct sigaction action = {.sa_handler = on_alarm};
    setup(&w);
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
    (void)ualarm(1000, 1000);
    CHECK_INT(pn_watches_wait(&w.watches, events, -1), -EINTR);
    (void)ualarm(0, 0);
    teardown(&w);
}

static void
test_forgotten_set_watches_nothing(void)
{
    world w;
    void *old;
    setup(&w);
    add(&w, w.pair[0], true);
    pn_watches_forget(&w.watches);
    CHECK(pn_watches_remove(&w.watches, w.pair[0], true) == &w.writer);
    CHECK_INT(pn_watches_add(&w.watches, w.pair[0], true, &w.writer, &old),
              -EBADF);
    teardown(&w);
}

static void
test_without_memory_nothing_changes(void)
{
    world w;
    void *old;
    setup(&w);
    fail_after(0);
    CHECK_INT(pn_watches_add(&w.watches, w.pair[0], true, &w.writer, &old),
              PN_ENOMEM);
    CHECK(pn_watches_get(&w.watches, w.pair[0], true) == NULL);
    CHECK(pn_watches_get(&w.watches, -1, true) == NULL);
    fail_never();
    add(&w, w.pair[0], true);
    teardown(&w);
}

int
main(void)
{
    RUN(test_reader_and_writer_of_one_descriptor);
    RUN(test_new_waiter_takes_the_place_of_the_old);
    RUN(test_end_and_error_are_told_to_both);
    RUN(test_what_cannot_be_watched_is_refused_and_forgotten);
    RUN(test_number_used_again_is_watched_anew);
    RUN(test_wait_is_never_too_short);
    RUN(test_signal_ends_the_wait);
    RUN(test_forgotten_set_watches_nothing);
    RUN(test_without_memory_nothing_changes);
    return 0;
}
