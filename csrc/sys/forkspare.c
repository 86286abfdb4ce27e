#include "sys/forkspare.h"

#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NAME_SIZE = 16 }; /* as the kernel limits it */

static void
take_stream(int fd, int stream)
{
    dup2(fd, stream);
    close(fd);
}

pn_forked
pn_forkspare_place(const pn_fork_request *request, const pn_fdpass *fds)
{
    pn_forked out = {.link = fds->fd[0], .recorder = -1, .spare = -1};
    size_t next = 1;
    for (int i = PN_FORK_STDIN; i <= PN_FORK_STDERR; i++) {
        if (request->given & (1u << i))
            take_stream(fds->fd[next++], i - PN_FORK_STDIN);
    }
    if (request->given & (1u << PN_FORK_RECORDER))
        out.recorder = fds->fd[next];
    return out;
}

void
pn_forkspare_begin(void)
{
    prctl(PR_SET_NAME, PN_FORK_SPARE_NAME);
}

/* What the server is called; '' where /proc does not tell. */
static void
find_name(char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)getppid());
    memset(name, 0, NAME_SIZE);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t len = read(fd, name, NAME_SIZE - 1);
    name[len > 0 ? len : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    close(fd);
}

/* Whether there is something to read before the master ends. */
static bool
await(int socket, int master)
{
    struct pollfd polled[2] = {
        {.fd = socket, .events = POLLIN},
        {.fd = master, .events = POLLIN},
    };
    while (poll(polled, 2, -1) < 0) {
        if (errno != EINTR)
            return false;
    }
    return polled[1].revents == 0;
}

static int
receive(int socket, pn_forked *out)
{
    pn_fork_request request;
    size_t len;
    pn_fdpass fds;
    int err = pn_fdpass_receive(socket, &request, sizeof request, &len, &fds);
    if (err != PN_OK)
        return err;
    size_t count = (size_t)__builtin_popcount(request.given);
    if (len != sizeof request || fds.cut || fds.count != count) {
        pn_fdpass_close(&fds);
        return PN_ECLOSED;
    }
    *out = pn_forkspare_place(&request, &fds);
    return PN_OK;
}

int
pn_forkspare_wait(int socket, int master, pn_forked *out)
{
    char name[NAME_SIZE];
    find_name(name);
    int err = PN_MORE;
    while (err == PN_MORE)
        err = await(socket, master) ? receive(socket, out) : PN_ECLOSED;
    close(socket);
    if (err != PN_OK)
        return PN_ECLOSED;
    prctl(PR_SET_NAME, name);
    return PN_OK;
}
