/* The poller over socket pairs and pipes. */
#include "check.h"

#include "sys/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int owner; /* its address stands for the object behind fds[0] */

typedef struct {
    pn_poller poller;
    int fds[2]; /* [0] is watched */
} fixture;

static void
set_up(fixture *f, bool writable)
{
    CHECK_INT(pn_poller_init(&f->poller), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds), 0);
    CHECK_INT(pn_poller_add(&f->poller, f->fds[0], &owner, writable), 0);
}

static void
tear_down(fixture *f)
{
    pn_poller_close(&f->poller);
    pn_poller_close(&f->poller);
    (void)close(f->fds[0]);
    (void)close(f->fds[1]);
}

/* The one event there is; none of it if nothing is set. */
static pn_poll_event
only_event(fixture *f)
{
    pn_poll_event events[4] = {{NULL, false, false}};
    int count = pn_poller_wait(&f->poller, events, 4, 0);
    CHECK(count == 0 || count == 1);
    CHECK(count == 0 || events[0].owner == &owner);
    return events[0];
}

static void
test_bytes_make_it_readable_until_they_are_read(void)
{
    fixture f;
    char byte;
    set_up(&f, false);
    CHECK(only_event(&f).owner == NULL);
    CHECK_INT(write(f.fds[1], "x", 1), 1);
    CHECK(only_event(&f).readable && !only_event(&f).writable);
    CHECK_INT(read(f.fds[0], &byte, 1), 1);
    CHECK(only_event(&f).owner == NULL);
    tear_down(&f);
}

static void
test_room_to_write_is_told_only_on_request(void)
{
    fixture f;
    set_up(&f, true);
    CHECK(only_event(&f).writable && !only_event(&f).readable);
    CHECK_INT(pn_poller_change(&f.poller, f.fds[0], &owner, false), 0);
    CHECK(only_event(&f).owner == NULL);
    CHECK_INT(pn_poller_change(&f.poller, f.fds[0], &owner, true), 0);
    CHECK(only_event(&f).writable);
    CHECK_INT(write(f.fds[1], "x", 1), 1);
    CHECK(only_event(&f).writable && only_event(&f).readable);
    tear_down(&f);
}

static void
test_a_muted_descriptor_tells_of_room_and_of_its_end_alone(void)
{
    fixture f;
    set_up(&f, false);
    CHECK_INT(write(f.fds[1], "x", 1), 1);
    CHECK_INT(pn_poller_mute(&f.poller, f.fds[0], &owner), 0);
    CHECK(!only_event(&f).readable && only_event(&f).writable);
    CHECK_INT(pn_poller_change(&f.poller, f.fds[0], &owner, false), 0);
    CHECK(only_event(&f).readable && !only_event(&f).writable);
    CHECK_INT(pn_poller_mute(&f.poller, f.fds[0], &owner), 0);
    CHECK_INT(close(f.fds[1]), 0);
    f.fds[1] = -1;
    CHECK(only_event(&f).readable);
    tear_down(&f);
}

static void
test_end_of_file_is_readable(void)
{
    fixture f;
    set_up(&f, false);
    CHECK_INT(shutdown(f.fds[1], SHUT_WR), 0);
    CHECK(only_event(&f).readable);
    CHECK_INT(close(f.fds[1]), 0);
    CHECK(only_event(&f).readable);
    f.fds[1] = -1;
    tear_down(&f);
}

/* A pipe tells its ends' closing by EPOLLHUP and EPOLLERR alone. */
static void
test_closing_of_a_pipes_other_end_is_readable(void)
{
    for (int watched = 0; watched < 2; watched++) {
        fixture f;
        CHECK_INT(pn_poller_init(&f.poller), 0);
        CHECK_INT(pipe(f.fds), 0);
        CHECK_INT(pn_poller_add(&f.poller, f.fds[watched], &owner, false), 0);
        CHECK(only_event(&f).owner == NULL);
        CHECK_INT(close(f.fds[1 - watched]), 0);
        f.fds[1 - watched] = -1;
        CHECK(only_event(&f).readable);
        tear_down(&f);
    }
}

static void
test_removed_descriptor_is_silent(void)
{
    fixture f;
    set_up(&f, true);
    pn_poller_remove(&f.poller, f.fds[0]);
    pn_poller_remove(&f.poller, f.fds[0]);
    pn_poller_remove(&f.poller, -1);
    CHECK_INT(write(f.fds[1], "x", 1), 1);
    CHECK(only_event(&f).owner == NULL);
    CHECK_INT(pn_poller_change(&f.poller, f.fds[0], &owner, true), -ENOENT);
    tear_down(&f);
}

static void
test_wrong_descriptors_are_refused(void)
{
    fixture f;
    set_up(&f, false);
    CHECK_INT(pn_poller_add(&f.poller, f.fds[0], &owner, false), -EEXIST);
    CHECK_INT(pn_poller_add(&f.poller, -1, &owner, false), -EBADF);
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    CHECK_INT(pn_poller_add(&f.poller, file, &owner, false), -EPERM);
    CHECK_INT(close(file), 0);
    tear_down(&f);
}

static void
test_more_events_than_asked_for_come_by_turns(void)
{
    enum { PAIRS = 100 };
    static int pairs[PAIRS][2];
    int seen[PAIRS] = {0};
    pn_poller poller;
    pn_poll_event events[200];
    CHECK_INT(pn_poller_init(&poller), 0);
    for (size_t i = 0; i < PAIRS; i++) {
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        CHECK_INT(pn_poller_add(&poller, pairs[i][0], &seen[i], true), 0);
    }
    for (int round = 0; round < 300; round++) {
        int max = round % 3 == 0 ? 200 : 1 + round % 7;
        int count = pn_poller_wait(&poller, events, max, 0);
        CHECK(count > 0 && count <= max);
        for (int k = 0; k < count; k++)
            ++*(int *)events[k].owner;
    }
    for (size_t i = 0; i < PAIRS; i++) {
        CHECK(seen[i] > 0);
        (void)close(pairs[i][0]);
        (void)close(pairs[i][1]);
    }
    pn_poller_close(&poller);
}

static void
test_set_itself_can_be_polled(void)
{
    fixture f;
    set_up(&f, false);
    struct pollfd outer = {.fd = f.poller.fd, .events = POLLIN};
    CHECK_INT(poll(&outer, 1, 0), 0);
    CHECK_INT(write(f.fds[1], "x", 1), 1);
    CHECK_INT(poll(&outer, 1, 0), 1);
    CHECK_INT(fcntl(f.poller.fd, F_GETFD), FD_CLOEXEC);
    tear_down(&f);
}

static void
on_alarm(int number)
{
    (void)number;
}

/* The alarm repeats, so that one before the wait does no harm. */
static void
test_signal_ends_the_wait_without_an_event(void)
{
    fixture f;
    pn_poll_event events[4];
    struct sigaction action = {.sa_handler = on_alarm}, old;
    struct itimerval timer = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
    set_up(&f, false);
    CHECK_INT(sigaction(SIGALRM, &action, &old), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &timer, NULL), 0);
    CHECK_INT(pn_poller_wait(&f.poller, events, 4, -1), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &off, NULL), 0);
    CHECK_INT(sigaction(SIGALRM, &old, NULL), 0);
    tear_down(&f);
}

static void
test_closed_set_fails(void)
{
    pn_poller poller = {.fd = -1};
    pn_poll_event events[1];
    pn_poller_close(&poller);
    CHECK_INT(pn_poller_wait(&poller, events, 1, 0), -EBADF);
    CHECK_INT(pn_poller_add(&poller, 0, &owner, false), -EBADF);
}

int
main(void)
{
    RUN(test_bytes_make_it_readable_until_they_are_read);
    RUN(test_room_to_write_is_told_only_on_request);
    RUN(test_a_muted_descriptor_tells_of_room_and_of_its_end_alone);
    RUN(test_end_of_file_is_readable);
    RUN(test_closing_of_a_pipes_other_end_is_readable);
    RUN(test_removed_descriptor_is_silent);
    RUN(test_wrong_descriptors_are_refused);
    RUN(test_more_events_than_asked_for_come_by_turns);
    RUN(test_set_itself_can_be_polled);
    RUN(test_signal_ends_the_wait_without_an_event);
    RUN(test_closed_set_fails);
    return 0;
}
