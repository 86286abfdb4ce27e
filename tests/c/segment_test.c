/* Segments: what one end writes the other reads, and nobody maps what could
 * be cut short under him. */
#include "check.h"

#include "base/status.h"
#include "sys/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE ((size_t)100000)

static void
test_both_ends_see_the_same_bytes(void)
{
    int fd;
    uint8_t *maker, *taker;
    CHECK_INT(pn_segment_make(SIZE, &fd, &maker), 0);
    CHECK_INT(pn_segment_map(fd, SIZE, &taker), 0);
    CHECK_INT(close(fd), 0);
    memset(maker, 0x5a, SIZE);
    CHECK_INT(taker[0], 0x5a);
    CHECK_INT(taker[SIZE - 1], 0x5a);
    taker[SIZE - 1] = 1;
    CHECK_INT(maker[SIZE - 1], 1);
    pn_segment_unmap(maker, SIZE);
    CHECK_INT(taker[SIZE - 1], 1);
    pn_segment_unmap(taker, SIZE);
}

static void
test_descriptor_is_close_on_exec(void)
{
    int fd;
    uint8_t *data;
    CHECK_INT(pn_segment_make(SIZE, &fd, &data), 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_INT(close(fd), 0);
    pn_segment_unmap(data, SIZE);
}

static void
test_size_cannot_be_changed(void)
{
    int fd;
    uint8_t *data;
    CHECK_INT(pn_segment_make(SIZE, &fd, &data), 0);
    CHECK_INT(ftruncate(fd, SIZE / 2), -1);
    CHECK_INT(ftruncate(fd, SIZE * 2), -1);
    CHECK_INT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    CHECK_INT(close(fd), 0);
    pn_segment_unmap(data, SIZE);
}

static void
test_wrong_size_is_not_mapped(void)
{
    int fd;
    uint8_t *data, *other = NULL;
    CHECK_INT(pn_segment_make(SIZE, &fd, &data), 0);
    CHECK_INT(pn_segment_map(fd, SIZE + 1, &other), PN_EPROTO);
    CHECK_INT(pn_segment_map(fd, SIZE - 1, &other), PN_EPROTO);
    CHECK_INT(pn_segment_map(fd, 0, &other), PN_EPROTO);
    CHECK(other == NULL);
    CHECK_INT(close(fd), 0);
    pn_segment_unmap(data, SIZE);
}

static void
test_unsealed_memory_is_not_mapped(void)
{
    static const int seals[] = {
        0,
        F_SEAL_SHRINK,
        F_SEAL_SHRINK | F_SEAL_GROW,
        F_SEAL_GROW | F_SEAL_SEAL,
    };
    for (size_t i = 0; i < sizeof seals / sizeof *seals; i++) {
        uint8_t *data;
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        CHECK(fd >= 0);
        CHECK_INT(ftruncate(fd, SIZE), 0);
        CHECK_INT(fcntl(fd, F_ADD_SEALS, seals[i]), 0);
        CHECK_INT(pn_segment_map(fd, SIZE, &data), PN_EPROTO);
        CHECK_INT(close(fd), 0);
    }
}

static void
test_other_descriptors_are_not_mapped(void)
{
    uint8_t *data;
    int pipes[2];
    int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    CHECK_INT(pipe(pipes), 0);
    CHECK_INT(pn_segment_map(zero, SIZE, &data), PN_EPROTO);
    CHECK_INT(pn_segment_map(pipes[0], SIZE, &data), PN_EPROTO);
    CHECK_INT(close(zero), 0);
    CHECK_INT(close(pipes[0]), 0);
    CHECK_INT(close(pipes[1]), 0);
    CHECK_INT(pn_segment_map(zero, SIZE, &data), PN_EPROTO);
}

static void
test_huge_pages_are_not_mapped(void)
{
    const size_t size = (size_t)2 << 20;
    uint8_t *data;
    int fd =
        memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (fd < 0)
        return; /* the kernel has none */
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0)
        CHECK_INT(pn_segment_map(fd, size, &data), PN_EPROTO);
    CHECK_INT(close(fd), 0);
}

static void
test_without_descriptors_none_is_made(void)
{
    struct rlimit old, none;
    int fd = -1;
    uint8_t *data = NULL;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_INT(pn_segment_make(SIZE, &fd, &data), -EMFILE);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &old), 0);
    CHECK_INT(fd, -1);
    CHECK(data == NULL);
}

static void
test_too_large_a_segment_is_neither_made_nor_mapped(void)
{
    int fd = -1;
    uint8_t *data = NULL;
    CHECK_INT(pn_segment_make(PN_SEGMENT_LIMIT + 1, &fd, &data), PN_ETOOBIG);
    CHECK_INT(pn_segment_map(0, PN_SEGMENT_LIMIT + 1, &data), PN_ETOOBIG);
    CHECK_INT(fd, -1);
    CHECK(data == NULL);
}

int
main(void)
{
    RUN(test_both_ends_see_the_same_bytes);
    RUN(test_descriptor_is_close_on_exec);
    RUN(test_size_cannot_be_changed);
    RUN(test_wrong_size_is_not_mapped);
    RUN(test_unsealed_memory_is_not_mapped);
    RUN(test_other_descriptors_are_not_mapped);
    RUN(test_huge_pages_are_not_mapped);
    RUN(test_without_descriptors_none_is_made);
    RUN(test_too_large_a_segment_is_neither_made_nor_mapped);
    return 0;
}
