#include "loop/guest.h"

#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static bool
is_readable(pn_guest *guest, int ms)
{
    struct pollfd fd = {.fd = pn_guest_fd(guest), .events = POLLIN};
    return poll(&fd, 1, ms) == 1;
}

static pn_guest *
made(void)
{
    int err = 1;
    pn_guest *guest = pn_guest_new(&err);
    CHECK_INT(err, 0);
    CHECK(guest != NULL);
    return guest;
}

static void
test_idle_guest_is_silent_and_closes_empty(void)
{
    pn_guest *guest = made();
    CHECK(!is_readable(guest, 0));
    pn_guest_serve(guest);
    CHECK(!is_readable(guest, 0));
    pn_guest_free(guest);
    pn_guest_free(NULL);
    CHECK_INT(live_blocks(), 0);
}

static void *
wake(void *guest)
{
    for (int i = 0; i < 100; i++)
        pn_guest_wake(guest);
    return NULL;
}

static void
test_wake_of_another_thread_shows_until_served(void)
{
    pn_guest *guest = made();
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        CHECK_INT(pthread_create(&thread, NULL, wake, guest), 0);
        CHECK(is_readable(guest, 10000));
        CHECK_INT(pthread_join(thread, NULL), 0);
        while (is_readable(guest, 0))
            pn_guest_serve(guest);
    }
    pn_guest_free(guest);
    CHECK_INT(live_blocks(), 0);
}

static void
test_forked_child_frees_without_touching_its_parents(void)
{
    pn_guest *guest = made();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pn_guest_forked(guest);
        pn_guest_free(guest);
        _exit(0);
    }
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    pn_guest_wake(guest);
    CHECK(is_readable(guest, 10000));
    pn_guest_free(guest);
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_there_is_none(void)
{
    int err = 0;
    fail_after(0);
    CHECK(pn_guest_new(&err) == NULL);
    CHECK(err < 0);
    fail_never();
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_idle_guest_is_silent_and_closes_empty);
    RUN(test_wake_of_another_thread_shows_until_served);
    RUN(test_forked_child_frees_without_touching_its_parents);
    RUN(test_without_memory_there_is_none);
    return 0;
}
