#include "check.h"

#include "sys/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A subreaper that has divided itself: init_pid stays, program runs as what
 * goes on, whose exit code its result is. */
static pid_t init_pid;

static void
start(int (*program)(void))
{
    init_pid = fork();
    CHECK(init_pid >= 0);
    if (init_pid > 0)
        return;
    alarm(60);
    CHECK(!pn_init_is_needed());
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(pn_init_is_needed());
    init_pid = getpid();
    CHECK_INT(pn_init_go_on(), 0);
    alarm(60); /* not inherited */
    CHECK(getppid() == init_pid);
    CHECK(!pn_init_is_needed());
    _exit(program());
}

static int
status_of_init(void)
{
    int status;
    CHECK(waitpid(init_pid, &status, 0) == init_pid);
    return status;
}

static int
give_seven(void)
{
    return 7;
}

static void
test_it_ends_with_the_exit_code_of_what_goes_on(void)
{
    start(give_seven);
    int status = status_of_init();
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 7);
}

static int
end_by_signal(void)
{
    raise(SIGUSR1);
    return 0;
}

static void
test_it_ends_by_the_signal_of_what_goes_on(void)
{
    start(end_by_signal);
    int status = status_of_init();
    CHECK(WIFSIGNALED(status));
    CHECK_INT(WTERMSIG(status), SIGUSR1);
}

static void
nap(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    nanosleep(&moment, NULL);
}

/* An orphan that ends at once; its process id. */
static pid_t
leave_an_orphan(void)
{
    int ends[2];
    pid_t orphan;
    CHECK(pipe(ends) == 0);
    pid_t between = fork();
    CHECK(between >= 0);
    if (between == 0) {
        orphan = fork();
        if (orphan != 0) {
            CHECK(write(ends[1], &orphan, sizeof orphan) == sizeof orphan);
            _exit(5);
        }
        while (getppid() != init_pid)
            nap();
        _exit(6);
    }
    int status;
    CHECK(read(ends[0], &orphan, sizeof orphan) == sizeof orphan);
    CHECK(waitpid(between, &status, 0) == between);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 5); /* nobody has taken it */
    close(ends[0]);
    close(ends[1]);
    return orphan;
}

static int
leave_orphans(void)
{
    for (int i = 0; i < 20; i++) {
        pid_t orphan = leave_an_orphan();
        while (kill(orphan, 0) == 0)
            nap(); /* a zombie could still be signalled */
        CHECK_INT(errno, ESRCH);
    }
    return 3;
}

static void
test_orphans_are_reaped_and_other_children_are_not(void)
{
    start(leave_orphans);
    int status = status_of_init();
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 3);
}

static volatile sig_atomic_t signalled;

static void
note(int number)
{
    signalled = number;
}

static int said[2]; /* a pipe: what goes on is ready */

static int
wait_for_a_signal(void)
{
    struct sigaction action = {.sa_handler = note};
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGTERM));
    sigaction(SIGTERM, &action, NULL);
    CHECK(write(said[1], "r", 1) == 1);
    while (!signalled)
        nap();
    return signalled;
}

static void
test_signals_are_passed_on(void)
{
    char byte;
    CHECK(pipe(said) == 0);
    start(wait_for_a_signal);
    CHECK(read(said[0], &byte, 1) == 1);
    CHECK(kill(init_pid, SIGTERM) == 0);
    int status = status_of_init();
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), SIGTERM);
    close(said[0]);
    close(said[1]);
}

static void
test_what_goes_on_is_killed_with_it_and_held_its_descriptors_alone(void)
{
    char byte;
    CHECK(pipe(said) == 0);
    start(wait_for_a_signal);
    close(said[1]);
    CHECK(read(said[0], &byte, 1) == 1);
    CHECK(kill(init_pid, SIGKILL) == 0);
    CHECK(WIFSIGNALED(status_of_init()));
    CHECK_INT(read(said[0], &byte, 1), 0); /* all ends are closed */
    close(said[0]);
}

int
main(void)
{
    RUN(test_it_ends_with_the_exit_code_of_what_goes_on);
    RUN(test_it_ends_by_the_signal_of_what_goes_on);
    RUN(test_orphans_are_reaped_and_other_children_are_not);
    RUN(test_signals_are_passed_on);
    RUN(test_what_goes_on_is_killed_with_it_and_held_its_descriptors_alone);
    return 0;
}
