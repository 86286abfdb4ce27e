#include "sys/fuse.h"

#include "check.h"
#include "sys/clock.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOLD SIGRTMIN
#define LONG (1000 * (int64_t)1000000000)

static void
on_told(int signal)
{
    (void)signal;
    (void)write(1, "told", 4);
}

static void
handle(int signal)
{
    struct sigaction action = {.sa_handler = on_told};
    CHECK_INT(sigaction(signal, &action, NULL), 0);
}

/* How a child ends that runs this, and what it writes. */
static int
end_of(void (*body)(void), char *told)
{
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    fflush(NULL); /* under TSan, _exit would flush it once more */
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 1);
        body();
        _exit(7);
    }
    close(ends[1]);
    ssize_t size = read(ends[0], told, 15);
    told[size < 0 ? 0 : size] = 0;
    close(ends[0]);
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return status;
}

/* TSan has handlers run in calls only, so there is one. */
static void
spin(void)
{
    for (;;)
        (void)usleep(10);
}

static void
burn_in_a_loop(void)
{
    pn_fuse fuse = {0};
    handle(TOLD);
    CHECK_INT(pn_fuse_light(&fuse, pn_clock_now() + 10000000, TOLD), 0);
    spin();
}

static void
burn_late(void)
{
    pn_fuse fuse = {0};
    CHECK_INT(pn_fuse_light(&fuse, 0, TOLD), 0);
    spin();
}

static void
put_out_and_go_on(void)
{
    pn_fuse fuse = {0};
    handle(TOLD);
    for (int i = 0; i < 100; i++) {
        CHECK_INT(pn_fuse_light(&fuse, pn_clock_now() + LONG, TOLD), 0);
        pn_fuse_put_out(&fuse);
    }
    pn_fuse_put_out(&fuse);
    CHECK_INT(pn_fuse_light(&fuse, pn_clock_now() + LONG, TOLD), 0);
    pn_fuse_free(&fuse);
    pn_fuse_put_out(&fuse);
    pn_fuse_free(&fuse);
}

static void
leave_it_to_a_child(void)
{
    pn_fuse fuse = {0};
    int status = 0;
    handle(TOLD);
    CHECK_INT(pn_fuse_light(&fuse, pn_clock_now() + 2000000000, TOLD), 0);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(2300000);
        _exit(3);
    }
    pn_fuse_put_out(&fuse);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

/* In a child timers of its own have the numbers of its parent's. */
static void
spare_those_of_a_child(void)
{
    pn_fuse fuse = {0};
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec far = {.it_value = {.tv_sec = 1000}}, left;
    timer_t own[4];
    int status = 0;
    CHECK_INT(pn_fuse_light(&fuse, pn_clock_now() + LONG, TOLD), 0);
    pid_t pid = fork();
    if (pid > 0) {
        CHECK_INT(waitpid(pid, &status, 0), pid);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_INT(timer_create(CLOCK_MONOTONIC, &event, &own[i]), 0);
        CHECK_INT(timer_settime(own[i], 0, &far, NULL), 0);
    }
    pn_fuse_put_out(&fuse);
    pn_fuse_free(&fuse);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(timer_gettime(own[i], &left), 0);
        CHECK(left.it_value.tv_sec > 0);
    }
    CHECK_INT(pn_fuse_light(&fuse, pn_clock_now() + LONG, TOLD), 0);
    pn_fuse_free(&fuse);
    _exit(3);
}

static void
burn_far_away(void)
{
    pn_fuse fuse = {0};
    handle(TOLD);
    CHECK_INT(pn_fuse_light(&fuse, INT64_MAX, TOLD), 0);
    CHECK_INT(pn_fuse_light(&fuse, INT64_MAX - PN_FUSE_TELL_NS + 1, TOLD), 0);
    pn_fuse_free(&fuse);
}

static void
test_child_keeps_timers_of_its_own(void)
{
    char told[16];
    int status = end_of(spare_those_of_a_child, told);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 3);
}

static void
test_no_moment_is_too_far(void)
{
    char told[16];
    int status = end_of(burn_far_away, told);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 7);
    CHECK(strcmp(told, "") == 0);
}

static void
test_lit_one_tells_and_then_kills(void)
{
    char told[16] = "";
    /* Where it does not get to run for that long, SIGKILL comes first. */
    for (int i = 0; i < 200 && strcmp(told, "told") != 0; i++) {
        int status = end_of(burn_in_a_loop, told);
        CHECK(WIFSIGNALED(status));
        CHECK_INT(WTERMSIG(status), SIGKILL);
    }
    CHECK(strcmp(told, "told") == 0);
}

static void
test_signal_that_nobody_handles_is_not_sent(void)
{
    char told[16];
    int status = end_of(burn_late, told);
    CHECK(WIFSIGNALED(status));
    CHECK_INT(WTERMSIG(status), SIGKILL);
    CHECK(strcmp(told, "") == 0);
}

static void
test_one_that_was_put_out_or_freed_does_nothing(void)
{
    char told[16];
    int status = end_of(put_out_and_go_on, told);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 7);
    CHECK(strcmp(told, "") == 0);
}

static void
test_forked_child_does_not_burn(void)
{
    char told[16];
    int status = end_of(leave_it_to_a_child, told);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 3);
}

int
main(void)
{
    RUN(test_lit_one_tells_and_then_kills);
    RUN(test_signal_that_nobody_handles_is_not_sent);
    RUN(test_one_that_was_put_out_or_freed_does_nothing);
    RUN(test_forked_child_does_not_burn);
    RUN(test_child_keeps_timers_of_its_own);
    RUN(test_no_moment_is_too_far);
    return 0;
}
