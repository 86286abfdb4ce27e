#include "sys/segment.h"

#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* Not F_SEAL_WRITE: both ends write. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int
map(int fd, size_t size, uint8_t **data)
{
    void *address =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return -errno;
    *data = address;
    return 0;
}

/* Give the file all of its memory now, not as a SIGBUS later; fallocate sets
 * the size too. */
static int
fill(int fd, size_t size)
{
    int err;
    do {
        err = fallocate(fd, 0, 0, (off_t)size);
    } while (err < 0 && errno == EINTR);
    if (err < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return -errno;
    return 0;
}

int
pn_segment_make(size_t size, int *fd, uint8_t **data)
{
    if (size > PN_SEGMENT_LIMIT)
        return PN_ETOOBIG;
    int made = memfd_create("pulsar_native", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0)
        return -errno;
    int err = fill(made, size);
    if (err == 0)
        err = map(made, size, data);
    if (err == 0)
        *fd = made;
    else
        (void)close(made);
    return err;
}

int
pn_segment_map(int fd, size_t size, uint8_t **data)
{
    struct stat found;
    struct statfs system;
    if (size > PN_SEGMENT_LIMIT)
        return PN_ETOOBIG;
    /* Only a memfd has seals. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return PN_EPROTO;
    if (fstat(fd, &found) < 0 || fstatfs(fd, &system) < 0)
        return -errno;
    /* Huge pages may be missing when they are touched: a SIGBUS, too. */
    if (system.f_type != TMPFS_MAGIC)
        return PN_EPROTO;
    if (size == 0 || found.st_size < 0 || (uint64_t)found.st_size != size)
        return PN_EPROTO;
    return map(fd, size, data);
}

void
pn_segment_unmap(uint8_t *data, size_t size)
{
    (void)munmap(data, size);
}
