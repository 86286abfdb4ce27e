#include "forkserver_world.h"

static void
test_ends_are_reported_with_code_and_signal(void)
{
    setup();
    started a = spawn(&client, 1, -1);
    started b = spawn(&client, ~0ull, -1);
    order(&a, 'e');
    expect_end(1, &a, 42, 0);
    CHECK(readable(a.pidfd, 0));
    order(&b, 'a');
    expect_end(~0ull, &b, 0, SIGABRT);
    CHECK_INT(kill(b.pid, 0), -1); /* reaped */
    forget(&a);
    forget(&b);
    teardown();
}

static void
test_child_is_a_process_of_its_own(void)
{
    setup();
    started other = spawn(&client, 1, -1);
    started child = spawn(&client, 2, -1);
    findings found;
    order(&child, 'l');
    CHECK_INT(read(child.link, &found, sizeof found), sizeof found);
    /* No descriptor but its streams, its link and what this test has. */
    int inherited = count_descriptors() - 3 - 2 * 2 - 2;
    CHECK_INT(found.descriptors, 3 + 1 + inherited);
    CHECK_INT(found.death_signal, SIGKILL);
    CHECK(found.sigint_ignored && found.unblocked && found.stdin_is_null);
    forget(&child);
    forget(&other);
    teardown();
}

static void
test_given_streams_are_in_place(void)
{
    setup();
    int out[2];
    char text[8];
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    started child = spawn(&client, 1, out[1]);
    close(out[1]);
    order(&child, 'o');
    CHECK_INT(read(out[0], text, sizeof text), 3);
    CHECK(memcmp(text, "out", 3) == 0);
    expect_end(1, &child, 0, 0);
    CHECK_INT(read(out[0], text, sizeof text), 0);
    close(out[0]);
    forget(&child);
    teardown();
}

static void
test_given_recorder_is_the_childs(void)
{
    setup();
    int pair[2];
    char text[8];
    CHECK(pipe2(pair, O_CLOEXEC) == 0);
    started child = spawn_recorded(&client, 1, -1, pair[1]);
    close(pair[1]);
    order(&child, 'r');
    CHECK_INT(read(pair[0], text, sizeof text), 3);
    CHECK(memcmp(text, "rec", 3) == 0);
    expect_end(1, &child, 0, 0);
    started other = spawn(&client, 2, -1);
    order(&other, 'r');
    expect_end(2, &other, 1, 0);
    close(pair[0]);
    forget(&child);
    forget(&other);
    teardown();
}

static void
expect_failure(const int *fd, int error)
{
    int pidfd;
    CHECK_INT(pn_forkclient_spawn(&client, 9, fd), PN_OK);
    pn_fork_report report = next_report(&client, &pidfd);
    CHECK(report.kind == PN_FORK_FAILED && report.token == 9);
    CHECK_INT(report.error, error);
}

static void
test_refused_requests_are_answered(void)
{
    int refusals = 1;
    start_server(-1, &refusals);
    open_channel(&client);
    expect_failure((int[PN_FORK_FDS]){control, -1, -1, -1, -1}, EAGAIN);
    expect_failure((int[PN_FORK_FDS]){-1, -1, -1, -1, -1}, EINVAL);
    started child = spawn(&client, 10, -1);
    forget(&child);
    teardown();
}

static void
test_malformed_request_ends_its_channel_only(void)
{
    setup();
    pn_forkclient bad;
    open_channel(&bad);
    CHECK_INT(pn_fdpass_send(bad.fd, "nonsense", 8, NULL, 0), PN_OK);
    CHECK(readable(bad.fd, WAIT));
    pn_fork_report report;
    int pidfd;
    CHECK_INT(pn_forkclient_receive(&bad, &report, &pidfd), PN_ECLOSED);
    pn_forkclient_close(&bad);
    started child = spawn(&client, 1, -1);
    forget(&child);
    teardown();
}

static void
test_children_of_a_gone_arbiter_are_killed(void)
{
    setup();
    pn_forkclient other;
    open_channel(&other);
    started mine = spawn(&client, 1, -1);
    started stuck = spawn(&other, 2, -1);
    started stopped = spawn(&other, 3, -1);
    kill(stopped.pid, SIGSTOP); /* now only SIGKILL ends it */
    pn_forkclient_close(&other);
    CHECK(readable(stuck.pidfd, WAIT));
    CHECK(readable(stopped.pidfd, WAIT));
    CHECK(!readable(mine.pidfd, 0));
    forget(&stuck);
    forget(&stopped);
    forget(&mine);
    teardown();
}

static void
test_end_of_control_ends_all(void)
{
    setup();
    started stuck = spawn(&client, 1, -1);
    started stopped = spawn(&client, 2, -1);
    kill(stopped.pid, SIGSTOP); /* now only SIGKILL ends it */
    close(control);
    control = -1;
    CHECK(readable(stuck.pidfd, WAIT));
    CHECK(readable(stopped.pidfd, WAIT));
    forget(&stuck);
    forget(&stopped);
    teardown();
}

static void
test_death_of_the_master_ends_all(void)
{
    pid_t master = fork();
    CHECK(master >= 0);
    if (master == 0) {
        for (;;)
            pause();
    }
    int pidfd = pn_pidfd_open(master);
    CHECK(pidfd >= 0);
    start_server(pidfd, NULL);
    open_channel(&client);
    started child = spawn(&client, 1, -1);
    kill(master, SIGKILL);
    CHECK(readable(child.pidfd, WAIT)); /* the control socket is still open */
    waitpid(master, NULL, 0);
    close(pidfd);
    forget(&child);
    teardown();
}

static void
test_death_of_the_server_ends_children_and_channels(void)
{
    setup();
    started child = spawn(&client, 1, -1);
    kill(server, SIGKILL);
    CHECK_INT(waitpid(server, NULL, 0), server);
    CHECK(readable(child.pidfd, WAIT));
    CHECK(readable(client.fd, WAIT));
    pn_fork_report report;
    int pidfd;
    CHECK_INT(pn_forkclient_receive(&client, &report, &pidfd), PN_ECLOSED);
    pn_forkclient_close(&client);
    close(control);
    forget(&child);
}

static void
test_signals_do_not_end_the_server(void)
{
    setup();
    started first = spawn(&client, 0, -1); /* so that it serves by now */
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        kill(server, signals[i]);
    started child = spawn(&client, 1, -1);
    kill(child.pid, SIGTERM); /* a child's are its own */
    expect_end(1, &child, 0, SIGTERM);
    forget(&child);
    forget(&first);
    /* What stayed pending comes when serving has ended. */
    pn_forkclient_close(&client);
    close(control);
    CHECK_INT(waitpid(server, NULL, 0), server);
}

enum { LIVES = 100 };

/* What was told of each life: 0 nothing, 1 STARTED, 2 EXITED. */
typedef struct {
    int told[LIVES];
    pid_t pid[LIVES];
    bool killed[LIVES];
} lives;

static void
take_report(lives *all)
{
    int pidfd;
    pn_fork_report report = next_report(&client, &pidfd);
    uint64_t i = report.token;
    CHECK(i < LIVES);
    CHECK_INT(all->told[i]++, report.kind == PN_FORK_EXITED);
    if (report.kind == PN_FORK_STARTED) {
        all->pid[i] = report.pid;
        close(pidfd);
        return;
    }
    CHECK_INT(report.pid, all->pid[i]);
    CHECK_INT(report.signal, all->killed[i] ? SIGKILL : 0);
}

static void
test_random_lives_are_told_once(void)
{
    test_random random;
    test_random_init(&random);
    lives all = {.told = {0}};
    int link[LIVES];
    setup();
    for (int i = 0; i < LIVES; i++) {
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        int fd[PN_FORK_FDS] = {pair[1], -1, -1, -1, -1};
        CHECK_INT(pn_forkclient_spawn(&client, (uint64_t)i, fd), PN_OK);
        close(pair[1]);
        link[i] = pair[0];
        size_t victim = test_random_next(&random) % LIVES;
        if (all.told[victim] == 1 && kill(all.pid[victim], SIGKILL) == 0)
            all.killed[victim] = true;
        while (readable(client.fd, test_random_next(&random) % 2 ? 0 : 1))
            take_report(&all);
    }
    for (int i = 0; i < LIVES; i++)
        close(link[i]); /* the rest ends by itself */
    for (int i = 0; i < LIVES; i++)
        while (all.told[i] < 2)
            take_report(&all);
    teardown();
}

int
main(void)
{
    RUN(test_ends_are_reported_with_code_and_signal);
    RUN(test_child_is_a_process_of_its_own);
    RUN(test_given_streams_are_in_place);
    RUN(test_given_recorder_is_the_childs);
    RUN(test_refused_requests_are_answered);
    RUN(test_malformed_request_ends_its_channel_only);
    RUN(test_children_of_a_gone_arbiter_are_killed);
    RUN(test_end_of_control_ends_all);
    RUN(test_death_of_the_master_ends_all);
    RUN(test_death_of_the_server_ends_children_and_channels);
    RUN(test_signals_do_not_end_the_server);
    RUN(test_random_lives_are_told_once);
    return 0;
}
