#include "check.h"

#include "sys/cpus.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Files below a folder of its own stand for those of the system. */
static char root[] = "/tmp/pn_cpus_XXXXXX";

static void
write_file(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        (void)mkdir(full, 0700);
        *at = '/';
    }
    FILE *file = fopen(full, "w");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
}

static void
clean(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", root);
    CHECK(system(command) == 0);
}

static void
mount_unified(const char *mount_root, const char *group)
{
    char text[512];
    snprintf(text, sizeof text,
             "22 1 0:5 / /proc rw - proc proc rw\n"
             "31 23 0:28 %s /groups rw,relatime shared:4 - cgroup2 none rw\n",
             mount_root);
    write_file("/proc/self/mountinfo", text);
    snprintf(text, sizeof text, "0::%s\n", group);
    write_file("/proc/self/cgroup", text);
}

static void
mount_old(const char *options)
{
    char text[512];
    snprintf(text, sizeof text,
             "33 31 0:30 / /cpuset rw - cgroup cgroup rw,cpuset\n"
             "32 31 0:29 / /old rw - cgroup cgroup rw,%s\n",
             options);
    write_file("/proc/self/mountinfo", text);
    write_file("/proc/self/cgroup", "9:name=systemd:/\n3:cpuset:/x\n"
                                    "2:cpu,cpuacct:/box\n0::/\n");
}

static void
test_without_groups_nothing_limits(void)
{
    CHECK_INT(pn_cpus_quota(root), 0);
    write_file("/proc/self/mountinfo", "nonsense\n\n1 2 3\n - \n");
    CHECK_INT(pn_cpus_quota(root), 0);
    mount_unified("/", "/a"); /* no files of the group */
    CHECK_INT(pn_cpus_quota(root), 0);
    clean();
}

static void
test_quota_of_the_own_group_counts(void)
{
    mount_unified("/", "/a/b");
    write_file("/groups/a/b/cpu.max", "350000 100000\n");
    CHECK_INT(pn_cpus_quota(root), 3);
    write_file("/groups/a/b/cpu.max", "50000 100000\n");
    CHECK_INT(pn_cpus_quota(root), 1);
    write_file("/groups/a/b/cpu.max", "max 100000\n");
    CHECK_INT(pn_cpus_quota(root), 0);
    write_file("/groups/a/b/cpu.max", "-7 0\n");
    CHECK_INT(pn_cpus_quota(root), 0);
    clean();
}

static void
test_the_strictest_group_around_counts(void)
{
    mount_unified("/", "/a/b/c");
    write_file("/groups/a/b/c/cpu.max", "max 100000\n");
    write_file("/groups/a/b/cpu.max", "800000 100000\n");
    write_file("/groups/a/cpu.max", "200000 100000\n");
    write_file("/groups/cpu.max", "400000 100000\n");
    CHECK_INT(pn_cpus_quota(root), 2);
    write_file("/cpu.max", "100000 100000\n"); /* no group: beyond the mount */
    CHECK_INT(pn_cpus_quota(root), 2);
    clean();
}

static void
test_a_container_sees_its_own_group_as_the_root(void)
{
    write_file("/groups/cpu.max", "200000 100000\n");
    mount_unified("/", "/");
    CHECK_INT(pn_cpus_quota(root), 2);
    mount_unified("/docker/1234", "/docker/1234");
    CHECK_INT(pn_cpus_quota(root), 2);
    mount_unified("/", "/../other");
    CHECK_INT(pn_cpus_quota(root), 2);
    write_file("/groups/in/cpu.max", "100000 100000\n");
    mount_unified("/docker/1234", "/docker/1234/in");
    CHECK_INT(pn_cpus_quota(root), 1);
    mount_unified("/docker/1234", "/docker/12345");
    CHECK_INT(pn_cpus_quota(root), 2);
    clean();
}

static void
test_groups_of_version_one_count_too(void)
{
    mount_old("cpu,cpuacct");
    write_file("/old/box/cpu.cfs_quota_us", "-1\n");
    write_file("/old/box/cpu.cfs_period_us", "100000\n");
    CHECK_INT(pn_cpus_quota(root), 0);
    write_file("/old/box/cpu.cfs_quota_us", "400000\n");
    CHECK_INT(pn_cpus_quota(root), 4);
    mount_old("cpuacct");
    CHECK_INT(pn_cpus_quota(root), 0);
    clean();
}

static void
test_affinity_is_followed(void)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CHECK_INT(pn_cpus_affinity(), CPU_COUNT(&all));
    size_t first = 0;
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK_INT(pn_cpus_affinity(), 1);
    CHECK_INT(pn_cpus_usable(), 1);
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    CHECK(pn_cpus_usable() >= 1 && pn_cpus_usable() <= CPU_COUNT(&all));
}

int
main(void)
{
    CHECK(mkdtemp(root) != NULL);
    RUN(test_without_groups_nothing_limits);
    RUN(test_quota_of_the_own_group_counts);
    RUN(test_the_strictest_group_around_counts);
    RUN(test_a_container_sees_its_own_group_as_the_root);
    RUN(test_groups_of_version_one_count_too);
    RUN(test_affinity_is_followed);
    clean();
    return rmdir(root);
}
