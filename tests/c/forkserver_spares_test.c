#include "forkserver_world.h"

#include <sched.h>

/* The server's children that wait to be needed, or one of them. */
static int
count_spares(pid_t *one)
{
    char path[64], name[32];
    int pid, count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)server,
             (int)server);
    FILE *children = fopen(path, "re");
    CHECK(children != NULL);
    while (fscanf(children, "%d", &pid) == 1) {
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        FILE *comm = fopen(path, "re");
        if (comm == NULL)
            continue;
        bool read = fgets(name, sizeof name, comm) != NULL;
        fclose(comm);
        if (!read || strcmp(name, PN_FORK_SPARE_NAME "\n") != 0)
            continue;
        *one = pid;
        count++;
    }
    fclose(children);
    return count;
}

static pid_t
await_spares(int wanted)
{
    pid_t one = 0;
    while (count_spares(&one) != wanted)
        sched_yield();
    return one;
}

static void
test_a_spare_is_as_good_as_a_fresh_fork(void)
{
    setup();
    started fresh = spawn(&client, 1, -1);
    CHECK_INT(pn_forkclient_reserve(&client, 2), PN_OK);
    await_spares(2);
    int pair[2];
    char text[8];
    CHECK(pipe2(pair, O_CLOEXEC) == 0);
    started child = spawn_recorded(&client, 2, -1, pair[1]);
    close(pair[1]);
    findings found;
    order(&child, 'l');
    CHECK_INT(read(child.link, &found, sizeof found), sizeof found);
    int inherited = count_descriptors() - 3 - 2 * 2 - 1 - 2;
    CHECK_INT(found.descriptors, 3 + 2 + inherited);
    CHECK_INT(found.death_signal, SIGKILL);
    CHECK(found.sigint_ignored && found.unblocked && found.stdin_is_null);
    await_spares(2); /* another one has taken its place */
    order(&child, 's');
    expect_end(2, &child, 44, 0);
    order(&fresh, 's');
    expect_end(1, &fresh, 45, 0);
    CHECK_INT(read(pair[0], text, sizeof text), 0);
    close(pair[0]);
    forget(&child);
    forget(&fresh);
    teardown();
}

static void
test_a_dead_spare_is_not_given_out(void)
{
    setup();
    CHECK_INT(pn_forkclient_reserve(&client, 1), PN_OK);
    pid_t spare = await_spares(1);
    int pidfd = pn_pidfd_open(spare);
    CHECK(pidfd >= 0);
    kill(spare, SIGKILL);
    CHECK(readable(pidfd, WAIT));
    close(pidfd);
    started child = spawn(&client, 1, -1);
    CHECK(child.pid != spare);
    order(&child, 'e');
    expect_end(1, &child, 42, 0);
    forget(&child);
    teardown();
}

static void
test_spares_go_with_the_channel_that_wants_them(void)
{
    setup();
    pn_forkclient other;
    open_channel(&other);
    CHECK_INT(pn_forkclient_reserve(&client, 1), PN_OK);
    CHECK_INT(pn_forkclient_reserve(&other, 3), PN_OK);
    await_spares(3);
    pn_forkclient_close(&other);
    await_spares(1);
    CHECK_INT(pn_forkclient_reserve(&client, 0), PN_OK);
    await_spares(0);
    teardown();
}

static void
test_death_of_the_server_ends_spares(void)
{
    setup();
    CHECK_INT(pn_forkclient_reserve(&client, 1), PN_OK);
    int pidfd = pn_pidfd_open(await_spares(1));
    CHECK(pidfd >= 0);
    kill(server, SIGKILL);
    CHECK_INT(waitpid(server, NULL, 0), server);
    CHECK(readable(pidfd, WAIT));
    close(pidfd);
    pn_forkclient_close(&client);
    close(control);
}

int
main(void)
{
    RUN(test_a_spare_is_as_good_as_a_fresh_fork);
    RUN(test_a_dead_spare_is_not_given_out);
    RUN(test_spares_go_with_the_channel_that_wants_them);
    RUN(test_death_of_the_server_ends_spares);
    return 0;
}
