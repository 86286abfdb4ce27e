/* Descriptors beside the bytes of a link: each arrives with its frame or
 * before it, is found by its serial, or is known to be lost; none leaks. */
#include "check.h"

#include "base/status.h"
#include "sys/link.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const pn_link_limits limits = {1 << 20, 100000, 1 << 26};

static uint8_t payload[1 << 20];

static int
open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    CHECK_INT(closedir(dir), 0);
    return count;
}

static void
connect_links(pn_link *a, pn_link *b)
{
    int fds[2];
    CHECK_INT(pn_link_pair(fds), 0);
    CHECK_INT(pn_link_init(a, fds[0], &limits), 0);
    CHECK_INT(pn_link_init(b, fds[1], &limits), 0);
}

static void
close_links(pn_link *a, pn_link *b, int before)
{
    pn_link_close(a);
    pn_link_close(b);
    CHECK_INT(open_descriptors(), before);
    CHECK_INT(live_blocks(), 0);
}

static void
put(pn_link *link, uint8_t kind, uint64_t id, size_t size)
{
    pn_envelope env = {.kind = kind, .source = 1, .id = id};
    pn_ref bytes = pn_ref_borrowed(payload, size);
    CHECK_INT(pn_outbox_put(&link->out, &env, &bytes), PN_OK);
}

/* A file that can be told from every other. */
static int
new_file(void)
{
    int fds[2];
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    CHECK_INT(close(fds[1]), 0);
    return fds[0];
}

static ino_t
inode(int fd)
{
    struct stat facts;
    CHECK_INT(fstat(fd, &facts), 0);
    return facts.st_ino;
}

/* Attach a file and put a message that names it: its id is the serial. */
static ino_t
put_with_file(pn_link *link, uint8_t kind, size_t size)
{
    uint64_t serial;
    int fd = new_file();
    ino_t file = inode(fd);
    CHECK_INT(pn_link_attach(link, fd, &serial), PN_OK);
    put(link, kind, serial, size);
    return file;
}

/* Claim what a message that came names. */
static void
check_claim(pn_link *link, uint64_t serial, ino_t file)
{
    int fd = pn_link_claim(link, serial);
    CHECK(fd >= 0);
    CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_INT(inode(fd), file);
    CHECK_INT(close(fd), 0);
    CHECK_INT(pn_link_claim(link, serial), -1);
    CHECK(pn_descriptors_check(&link->fds));
}

/* The next whole message; PN_MORE if there is none now. */
static int
next_message(pn_link *link, pn_message *out)
{
    pn_part part;
    bool full;
    for (;;) {
        int err = pn_inbox_next(&link->in, &part);
        if (err == PN_OK)
            err = pn_inbox_join(&link->in, &part, out);
        else if (err == PN_MORE && (err = pn_link_receive(link, &full)) != 0)
            return err;
        else if (err == PN_OK)
            continue;
        if (err != PN_MORE)
            return err;
    }
}

static void
test_descriptors_are_found_by_serial_though_control_overtakes(void)
{
    pn_link a, b;
    pn_message message;
    int before = open_descriptors();
    connect_links(&a, &b);
    ino_t slow = put_with_file(&a, PN_TELL, 300000);
    ino_t quick = put_with_file(&a, PN_NOTIFY, 0);
    CHECK_INT(pn_link_flush(&a), PN_MORE);
    CHECK_INT(next_message(&b, &message), PN_OK);
    CHECK_INT(message.env.id, 2);
    check_claim(&b, 2, quick);
    while (next_message(&b, &message) == PN_MORE)
        CHECK(pn_link_flush(&a) >= 0);
    CHECK_INT(message.env.id, 1);
    check_claim(&b, 1, slow);
    close_links(&a, &b, before);
}

static void
test_a_descriptor_never_comes_behind_its_frame(void)
{
    enum { ROUNDS = 3000 };
    pn_link a, b;
    pn_message message;
    static ino_t files[ROUNDS + 1];
    uint64_t serial = 0, named = 0, got = 0, messages = 0;
    test_random random;
    test_random_init(&random);
    int before = open_descriptors();
    connect_links(&a, &b);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t kind = test_random_next(&random) % 4 ? PN_TELL : PN_NOTIFY;
        size_t size =
            test_random_next(&random) % (kind == PN_TELL ? 90000 : 9);
        int fd = new_file();
        ino_t file = inode(fd);
        if (test_random_next(&random) % 2 == 0 &&
            pn_link_attach(&a, fd, &serial) == PN_OK) {
            files[serial] = file;
            named++;
            put(&a, kind, serial, size);
        } else {
            CHECK_INT(close(fd), 0);
            put(&a, kind, 0, size % 100);
        }
        messages++;
        if (test_random_next(&random) % 3 == 0)
            CHECK(pn_link_flush(&a) >= 0);
        CHECK(pn_descriptors_check(&a.fds));
        while (test_random_next(&random) % 4 != 0 &&
               next_message(&b, &message) == PN_OK) {
            messages--;
            if (message.env.id != 0) {
                check_claim(&b, message.env.id, files[message.env.id]);
                got++;
            }
        }
    }
    while (messages > 0) {
        CHECK(pn_link_flush(&a) >= 0);
        while (next_message(&b, &message) == PN_OK) {
            messages--;
            if (message.env.id != 0) {
                check_claim(&b, message.env.id, files[message.env.id]);
                got++;
            }
        }
    }
    CHECK_INT(got, named);
    CHECK(named > ROUNDS / 10);
    close_links(&a, &b, before);
}

static void
test_only_so_many_are_under_way_at_once(void)
{
    pn_link a, b;
    uint64_t serial;
    int before = open_descriptors();
    connect_links(&a, &b);
    for (int i = 0; i < PN_DESCRIPTORS_LEAVING; i++)
        (void)put_with_file(&a, PN_TELL, 10);
    int fd = new_file();
    CHECK_INT(pn_link_attach(&a, fd, &serial), PN_EFULL);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    CHECK_INT(pn_link_attach(&a, fd, &serial), PN_OK);
    CHECK_INT(serial, PN_DESCRIPTORS_LEAVING + 1);
    close_links(&a, &b, before);
}

static void
test_what_could_not_be_put_is_taken_back(void)
{
    pn_link a, b;
    pn_message message;
    uint64_t serial;
    int before = open_descriptors();
    connect_links(&a, &b);
    int fd = new_file();
    CHECK_INT(pn_link_attach(&a, fd, &serial), PN_OK);
    CHECK_INT(pn_link_retract(&a), fd);
    CHECK_INT(pn_link_retract(&a), -1);
    CHECK_INT(close(fd), 0);
    ino_t file = put_with_file(&a, PN_TELL, 10);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    CHECK_INT(pn_link_retract(&a), -1); /* it has left */
    CHECK_INT(next_message(&b, &message), PN_OK);
    CHECK_INT(message.env.id, 1);
    check_claim(&b, 1, file);
    close_links(&a, &b, before);
}

static void
test_descriptors_that_never_left_are_closed_with_the_link(void)
{
    pn_link a, b;
    uint64_t serial;
    int before = open_descriptors();
    connect_links(&a, &b);
    (void)put_with_file(&a, PN_TELL, 10);
    (void)put_with_file(&a, PN_TELL, 10);
    pn_link_hang_up(&a);
    int fd = new_file();
    CHECK_INT(pn_link_attach(&a, fd, &serial), PN_ECLOSED);
    CHECK_INT(close(fd), 0);
    close_links(&a, &b, before);
}

/* Let no descriptor be opened until it is called again with 0. */
static void
forbid_descriptors(bool forbid)
{
    static struct rlimit usual;
    struct rlimit none;
    if (!forbid) {
        CHECK_INT(setrlimit(RLIMIT_NOFILE, &usual), 0);
        return;
    }
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = 3;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void
test_without_a_free_number_one_is_lost_and_the_others_are_not(void)
{
    pn_link a, b;
    pn_message message;
    int before = open_descriptors();
    connect_links(&a, &b);
    (void)put_with_file(&a, PN_TELL, 10);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    forbid_descriptors(true);
    CHECK_INT(next_message(&b, &message), PN_OK);
    forbid_descriptors(false);
    CHECK_INT(message.env.id, 1);
    CHECK_INT(pn_link_claim(&b, 1), -1);
    ino_t file = put_with_file(&a, PN_TELL, 10);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    CHECK_INT(next_message(&b, &message), PN_OK);
    check_claim(&b, message.env.id, file);
    close_links(&a, &b, before);
}

/* A number that somebody has closed stands for all that the kernel refuses
 * to pass (ETOOMANYREFS, say). */
static void
test_what_the_kernel_does_not_take_is_lost_and_the_bytes_are_not(void)
{
    pn_link a, b;
    pn_message message;
    uint64_t serial;
    int before = open_descriptors();
    connect_links(&a, &b);
    (void)put_with_file(&a, PN_TELL, 10);
    int fd = new_file();
    CHECK_INT(pn_link_attach(&a, fd, &serial), PN_OK);
    put(&a, PN_TELL, serial, 200000);
    (void)put_with_file(&a, PN_TELL, 10);
    CHECK_INT(close(fd), 0);
    CHECK_INT(pn_link_flush(&a), PN_MORE);
    CHECK_INT(next_message(&b, &message), PN_OK);
    int first = pn_link_claim(&b, 1);
    CHECK(first >= 0);
    CHECK_INT(close(first), 0);
    /* Until every frame has left that may name a lost one: */
    fd = new_file();
    CHECK_INT(pn_link_attach(&a, fd, &serial), PN_EFULL);
    CHECK_INT(close(fd), 0);
    for (uint64_t id = 2; id <= 3; id++) {
        while (next_message(&b, &message) == PN_MORE)
            CHECK(pn_link_flush(&a) >= 0);
        CHECK_INT(message.env.id, id);
        CHECK_INT(pn_link_claim(&b, 5 - id), -1); /* the later one first */
    }
    CHECK_INT(pn_link_flush(&a), PN_OK);
    ino_t file = put_with_file(&a, PN_TELL, 10);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    CHECK_INT(next_message(&b, &message), PN_OK);
    CHECK_INT(message.env.id, 4);
    check_claim(&b, 4, file);
    close_links(&a, &b, before);
}

static void
test_a_peer_that_has_gone_takes_no_descriptor(void)
{
    pn_link a, b;
    int before = open_descriptors();
    connect_links(&a, &b);
    (void)put_with_file(&a, PN_TELL, 10);
    pn_link_hang_up(&b);
    CHECK_INT(pn_link_flush(&a), -EPIPE);
    CHECK_INT(a.fds.waiting, 1);
    close_links(&a, &b, before);
}

static void
test_one_too_many_unclaimed_is_an_error_and_closed(void)
{
    pn_descriptors fds = {0};
    int before = open_descriptors();
    for (int i = 0; i < PN_DESCRIPTORS_COME; i++)
        CHECK_INT(pn_descriptors_came(&fds, new_file()), PN_OK);
    CHECK_INT(pn_descriptors_came(&fds, -1), PN_OK);
    CHECK_INT(pn_descriptors_came(&fds, new_file()), PN_EPROTO);
    CHECK(pn_descriptors_check(&fds));
    CHECK_INT(open_descriptors(), before + PN_DESCRIPTORS_COME);
    int fd = pn_descriptors_claim(&fds, 1);
    CHECK_INT(close(fd), 0);
    CHECK_INT(pn_descriptors_came(&fds, new_file()), PN_OK);
    fd = pn_descriptors_claim(&fds, PN_DESCRIPTORS_COME + 3);
    CHECK_INT(close(fd), 0);
    pn_descriptors_close(&fds);
    CHECK_INT(open_descriptors(), before);
}

/* One byte, and with it count copies of a descriptor. */
static void
pass_descriptors(int fd, int count)
{
    enum { MOST = 200 };
    union {
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec span = {.iov_base = payload, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &span,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int)),
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    for (int i = 0; i < count; i++)
        memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &fd, sizeof fd);
    CHECK_INT(sendmsg(fd, &message, 0), 1);
}

static void
test_more_descriptors_than_one_at_a_time_close_the_link(void)
{
    for (int count = 2; count <= 200; count += 99) {
        pn_link a, b;
        bool full;
        int before = open_descriptors();
        connect_links(&a, &b);
        pass_descriptors(a.fd, 1);
        CHECK_INT(pn_link_receive(&b, &full), PN_OK);
        pass_descriptors(a.fd, count);
        CHECK_INT(pn_link_receive(&b, &full), PN_EPROTO);
        pn_link_close(&a);
        pn_link_close(&b);
        CHECK_INT(open_descriptors(), before);
        CHECK_INT(live_blocks(), 0);
    }
}

static void
test_unclaimed_descriptors_are_few_and_end_with_the_link(void)
{
    pn_link a, b;
    bool full;
    int before = open_descriptors();
    connect_links(&a, &b);
    for (int i = 0; i < PN_DESCRIPTORS_COME; i++) {
        pass_descriptors(a.fd, 1);
        CHECK_INT(pn_link_receive(&b, &full), PN_OK);
    }
    CHECK_INT(open_descriptors(), before + 2 + PN_DESCRIPTORS_COME);
    pass_descriptors(a.fd, 1);
    CHECK_INT(pn_link_receive(&b, &full), PN_EPROTO);
    pn_link_hang_up(&b);
    pn_link_close(&a);
    CHECK_INT(open_descriptors(), before);
    pn_link_close(&b);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_descriptors_are_found_by_serial_though_control_overtakes);
    RUN(test_a_descriptor_never_comes_behind_its_frame);
    RUN(test_only_so_many_are_under_way_at_once);
    RUN(test_what_could_not_be_put_is_taken_back);
    RUN(test_descriptors_that_never_left_are_closed_with_the_link);
    RUN(test_without_a_free_number_one_is_lost_and_the_others_are_not);
    RUN(test_what_the_kernel_does_not_take_is_lost_and_the_bytes_are_not);
    RUN(test_a_peer_that_has_gone_takes_no_descriptor);
    RUN(test_one_too_many_unclaimed_is_an_error_and_closed);
    RUN(test_more_descriptors_than_one_at_a_time_close_the_link);
    RUN(test_unclaimed_descriptors_are_few_and_end_with_the_link);
    return 0;
}
