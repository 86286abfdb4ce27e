#include "sys/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE 4096
#define NAME 1024 /* longest path of a mount or group that is looked at */
#define NAME_FORMAT "%1023s"

/* A place where control groups can be seen. */
typedef struct {
    char root[NAME];  /* the group that lies at */
    char point[NAME]; /* this path */
    bool unified;     /* version 2 */
} group_mount;

int
pn_cpus_affinity(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than the set takes */
    return online > 0 ? (int)online : 1;
}

static FILE *
open_below(const char *root, const char *path)
{
    char full[LINE];
    int size = snprintf(full, sizeof full, "%s%s", root, path);
    return size < (int)sizeof full ? fopen(full, "re") : NULL;
}

/* Whether a list that commas divide has this word. */
static bool
has_word(const char *list, const char *word)
{
    size_t size = strlen(word);
    while (*list != '\0') {
        size_t length = strcspn(list, ",\n");
        if (length == size && strncmp(list, word, size) == 0)
            return true;
        list += length;
        list += *list != '\0';
    }
    return false;
}

/* A line of mountinfo(5). False if it shows no groups with processors. */
static bool
parse_mount(group_mount *out, const char *line)
{
    char type[32], options[NAME];
    const char *rest = strstr(line, " - ");
    if (rest == NULL ||
        sscanf(line, "%*s %*s %*s " NAME_FORMAT " " NAME_FORMAT, out->root,
               out->point) != 2 ||
        sscanf(rest, " - %31s %*s " NAME_FORMAT, type, options) != 2)
        return false;
    out->unified = strcmp(type, "cgroup2") == 0;
    return out->unified ||
           (strcmp(type, "cgroup") == 0 && has_word(options, "cpu"));
}

/* The path of this process's group, without the newline. */
static bool
find_group(const char *root, bool unified, char out[NAME])
{
    char line[LINE];
    FILE *file = open_below(root, "/proc/self/cgroup");
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *list = strchr(line, ':');
        char *path = list == NULL ? NULL : strchr(list + 1, ':');
        if (path == NULL)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        found = unified ? strncmp(line, "0:", 2) == 0 && list[1] == '\0'
                        : has_word(list + 1, "cpu");
        found = found && strlen(path) < NAME;
        if (found)
            strcpy(out, path);
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}

/* The first line of a file of a group, or false. */
static bool
read_line(const char *group, const char *name, char line[NAME])
{
    FILE *file = open_below(group, name);
    bool got = file != NULL && fgets(line, NAME, file) != NULL;
    if (file != NULL)
        (void)fclose(file);
    return got;
}

/* Whole processors of what one group may take; 0: no limit. */
static int
quota_of(const char *group, bool unified)
{
    char line[NAME];
    long long quota = 0, period = 0;
    if (unified) { /* "max 100000", say, where there is no limit */
        if (!read_line(group, "/cpu.max", line) ||
            sscanf(line, "%lld %lld", &quota, &period) != 2)
            return 0;
    } else if (!read_line(group, "/cpu.cfs_quota_us", line) ||
               sscanf(line, "%lld", &quota) != 1 ||
               !read_line(group, "/cpu.cfs_period_us", line) ||
               sscanf(line, "%lld", &period) != 1) {
        return 0;
    }
    if (quota <= 0 || period <= 0 || quota / period > 1 << 20)
        return 0;
    return quota < period ? 1 : (int)(quota / period);
}

static int
stricter(int a, int b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The part of a group's path below the root of the mount; "" if it cannot be
 * seen there. */
static const char *
path_within(const group_mount *mount, const char *path)
{
    size_t size = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);
    bool inside = strncmp(path, mount->root, size) == 0 &&
                  (path[size] == '/' || path[size] == '\0') &&
                  strstr(path, "/..") == NULL;
    return inside && strcmp(path + size, "/") != 0 ? path + size : "";
}

/* The strictest limit of a group and of those around it. */
static int
quota_of_mount(const char *root, const group_mount *mount)
{
    char path[NAME], group[LINE];
    int strictest = 0;
    if (!find_group(root, mount->unified, path))
        return 0;
    int top = snprintf(group, sizeof group, "%s%s", root, mount->point);
    int end = snprintf(group, sizeof group, "%s%s%s", root, mount->point,
                       path_within(mount, path));
    if (end >= (int)sizeof group)
        return 0;
    for (;;) {
        strictest = stricter(strictest, quota_of(group, mount->unified));
        char *last = strrchr(group, '/');
        if (last == NULL || last < group + top)
            return strictest;
        *last = '\0';
    }
}

int
pn_cpus_quota(const char *root)
{
    char line[LINE];
    int strictest = 0;
    FILE *file = open_below(root, "/proc/self/mountinfo");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        group_mount mount;
        if (parse_mount(&mount, line))
            strictest = stricter(strictest, quota_of_mount(root, &mount));
    }
    if (file != NULL)
        (void)fclose(file);
    return strictest;
}

int
pn_cpus_usable(void)
{
    int affinity = pn_cpus_affinity();
    int quota = pn_cpus_quota("");
    return quota > 0 && quota < affinity ? quota : affinity;
}
