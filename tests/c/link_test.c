/* Links over real socket pairs: what leaves one end comes out of the other,
 * and nothing that a peer does harms or leaks. */
#include "check.h"

#include "base/status.h"
#include "sys/link.h"
#include "ws/frame.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The outbox's longest segment. */
#define SEGMENT_LIMIT (PN_FRAME_HEADER_MAX + PN_BODY_LIMIT)

static const pn_link_limits limits = {1 << 20, 100000, 1 << 26};

static uint8_t pattern[1 << 20];

static void
fill_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 2654435761u >> 11);
}

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
put(pn_link *link, uint8_t kind, uint64_t id, size_t size)
{
    pn_envelope env = {.kind = kind, .source = 1, .id = id};
    pn_ref payload = pn_ref_borrowed(pattern, size);
    CHECK_INT(pn_outbox_put(&link->out, &env, &payload), PN_OK);
}

/* Receive all there is and check that messages come in the order of their
 * ids, from *next on, with size(id) bytes of the pattern. */
static int
receive_all(pn_link *link, uint64_t *next)
{
    pn_part part;
    pn_message message;
    bool full;
    int err;
    while ((err = pn_link_receive(link, &full)) == PN_OK) {
        while ((err = pn_inbox_next(&link->in, &part)) == PN_OK) {
            err = pn_inbox_join(&link->in, &part, &message);
            if (err == PN_MORE)
                continue;
            CHECK_INT(err, PN_OK);
            CHECK_INT(message.env.id, *next);
            CHECK(memcmp(message.payload, pattern, message.size) == 0);
            ++*next;
        }
        CHECK_INT(err, PN_MORE);
    }
    return err;
}

static void
test_pair_is_closed_on_exec_and_blocks_no_link(void)
{
    pn_link a, b;
    bool full;
    int before = open_descriptors();
    connect_links(&a, &b);
    CHECK_INT(fcntl(a.fd, F_GETFD), FD_CLOEXEC);
    CHECK_INT(fcntl(b.fd, F_GETFD), FD_CLOEXEC);
    CHECK_INT(pn_link_receive(&a, &full), PN_MORE);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    pn_link_close(&a);
    pn_link_close(&b);
    CHECK_INT(open_descriptors(), before);
    CHECK_INT(live_blocks(), 0);
}

static void
test_messages_of_all_sizes_pass_through_a_full_kernel_buffer(void)
{
    pn_link a, b;
    uint64_t next = 1, put_so_far = 0;
    int flushes = 0, err = PN_MORE;
    test_random random;
    test_random_init(&random);
    connect_links(&a, &b);
    for (; put_so_far < 200 || err == PN_MORE; flushes += err == PN_MORE) {
        for (int i = 0; i < 10 && put_so_far < 200; i++) {
            uint64_t id = ++put_so_far;
            size_t size = test_random_next(&random) % sizeof pattern;
            put(&a, PN_TELL, id, id % 3 == 0 ? size : size % 5000);
        }
        err = pn_link_flush(&a);
        CHECK(err == PN_OK || err == PN_MORE);
        CHECK(pn_outbox_check(&a.out));
        CHECK_INT(receive_all(&b, &next), PN_MORE);
    }
    CHECK(flushes > 0);
    CHECK_INT(next, 201);
    CHECK(pn_outbox_empty(&a.out));
    pn_link_close(&a);
    pn_link_close(&b);
    CHECK_INT(live_blocks(), 0);
}

/* How many bytes the kernel takes of a queue of messages of one size or, with
 * random, of frames of any. */
static size_t
kernel_takes(size_t size, test_random *random)
{
    static uint8_t room[1 << 20];
    pn_link a, b;
    size_t taken = 0, sum = 0;
    ssize_t got;
    connect_links(&a, &b);
    while (sum < 400000) {
        if (random != NULL) {
            size = 1 + test_random_next(random) % SEGMENT_LIMIT;
            size = test_random_next(random) % 3 == 0 ? SEGMENT_LIMIT : size;
            CHECK_INT(pn_outbox_put_frame(&a.out, pattern, size), PN_OK);
        } else {
            put(&a, PN_TELL, 1, size);
        }
        sum += size + 50;
    }
    CHECK_INT(pn_link_flush(&a), PN_MORE);
    while ((got = recv(b.fd, room, sizeof room, MSG_DONTWAIT)) > 0)
        taken += (size_t)got;
    pn_link_close(&a);
    pn_link_close(&b);
    return taken;
}

/* What the kernel holds, and the segment that has begun, stand before it. */
static void
test_control_is_never_behind_more_than_256_kib(void)
{
    static const size_t sizes[] = {0,     1,     100,   1000,   4000,
                                   8192,  8193,  16000, 20000,  32768,
                                   32769, 40000, 65536, 100000, 200000};
    size_t most = 0, taken;
    test_random random;
    test_random_init(&random);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        taken = kernel_takes(sizes[i], NULL);
        most = taken > most ? taken : most;
    }
    for (int i = 0; i < 500; i++) {
        taken = kernel_takes(0, &random);
        most = taken > most ? taken : most;
    }
    printf("the kernel takes at most %zu bytes\n", most);
    CHECK(most + SEGMENT_LIMIT <= 256 * 1024);
}

static void
test_full_reads_are_told(void)
{
    pn_link a, b;
    bool full = false;
    connect_links(&a, &b);
    put(&a, PN_TELL, 1, 150000);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    CHECK_INT(pn_link_receive(&b, &full), PN_OK);
    CHECK(full);
    CHECK_INT(pn_link_receive(&b, &full), PN_OK);
    CHECK_INT(pn_link_receive(&b, &full), PN_OK);
    CHECK(!full);
    pn_link_close(&a);
    pn_link_close(&b);
    CHECK_INT(live_blocks(), 0);
}

/* Run work with fds[1] in a forked child, and wait for its end. */
static pid_t
in_child(int fds[2], void (*work)(int fd))
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)close(fds[0]);
        work(fds[1]);
        _exit(0);
    }
    int status;
    CHECK_INT(close(fds[1]), 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return pid;
}

static void
send_hello(int fd)
{
    pn_link link;
    CHECK_INT(pn_link_init(&link, fd, &limits), 0);
    put(&link, PN_HELLO, 1, 100);
    CHECK_INT(pn_link_flush(&link), PN_OK);
    pn_link_close(&link);
}

static void
write_raw(int fd)
{
    CHECK_INT(write(fd, "hello", 5), 5);
}

static void
check_credentials(int fds[2], void (*work)(int fd))
{
    pn_link link;
    bool full;
    pid_t child = in_child(fds, work); /* sends before our end is a link */
    CHECK_INT(pn_link_init(&link, fds[0], &limits), 0);
    CHECK(!link.peer_known);
    CHECK_INT(pn_link_receive(&link, &full), PN_OK);
    CHECK(link.peer_known);
    CHECK_INT(link.peer_pid, child);
    CHECK_INT(link.peer_uid, getuid());
    int on = -1;
    socklen_t size = sizeof on;
    CHECK_INT(getsockopt(link.fd, SOL_SOCKET, SO_PASSCRED, &on, &size), 0);
    CHECK_INT(on, 0); /* asked once: later bytes are cheaper without */
    pn_link_close(&link);
    CHECK_INT(live_blocks(), 0);
}

static void
test_first_bytes_tell_who_sent_them(void)
{
    int fds[2];
    CHECK_INT(pn_link_pair(fds), 0);
    check_credentials(fds, send_hello);
    CHECK_INT(pn_link_pair(fds), 0);
    check_credentials(fds, write_raw);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    check_credentials(fds, send_hello); /* the child's end has asked */
}

static void
test_bytes_without_credentials_make_nobody_known(void)
{
    int fds[2];
    pn_link link;
    bool full;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    (void)in_child(fds, write_raw);
    CHECK_INT(pn_link_init(&link, fds[0], &limits), 0);
    CHECK_INT(pn_link_receive(&link, &full), PN_OK);
    CHECK(!link.peer_known);
    pn_link_close(&link);
    CHECK_INT(live_blocks(), 0);
}

static void
test_end_of_file_comes_behind_the_last_bytes(void)
{
    pn_link a, b;
    uint64_t next = 1;
    bool full;
    connect_links(&a, &b);
    put(&a, PN_TELL, 1, 50000);
    put(&a, PN_DOWN, 2, 0);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    pn_link_close(&a);
    CHECK_INT(receive_all(&b, &next), PN_ECLOSED);
    CHECK_INT(next, 3);
    CHECK_INT(pn_link_receive(&b, &full), PN_ECLOSED);
    pn_link_close(&b);
    CHECK_INT(live_blocks(), 0);
}

static void
test_sending_to_a_peer_that_has_gone_fails(void)
{
    pn_link a, b;
    connect_links(&a, &b);
    put(&a, PN_TELL, 1, 500000);
    CHECK_INT(pn_link_flush(&a), PN_MORE);
    pn_link_close(&b); /* without reading it */
    CHECK_INT(pn_link_flush(&a), -EPIPE);
    CHECK_INT(pn_link_flush(&a), -EPIPE);
    CHECK(pn_outbox_check(&a.out));
    bool full;
    CHECK_INT(pn_link_receive(&a, &full), PN_ECLOSED); /* a reset */
    CHECK_INT(pn_link_receive(&a, &full), PN_ECLOSED);
    pn_link_close(&a);
    CHECK_INT(live_blocks(), 0);
}

static void
test_descriptor_is_taken_over_even_on_failure(void)
{
    int before = open_descriptors();
    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    pn_link link;
    CHECK(file >= 0);
    CHECK_INT(pn_link_init(&link, file, &limits), -ENOTSOCK);
    CHECK_INT(link.fd, -1);
    CHECK_INT(open_descriptors(), before);
    CHECK_INT(pn_link_init(&link, -1, &limits), -EBADF);
    pn_link_close(&link);
    CHECK_INT(live_blocks(), 0);
}

static void
test_closed_link_moves_nothing(void)
{
    pn_link a, b;
    bool full;
    connect_links(&a, &b);
    pn_link_close(&b);
    pn_link_close(&a);
    CHECK_INT(pn_link_receive(&a, &full), PN_ECLOSED);
    put(&a, PN_TELL, 1, 10);
    CHECK_INT(pn_link_flush(&a), PN_ECLOSED);
    pn_link_close(&a); /* frees what was put meanwhile */
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_the_bytes_stay_in_the_kernel(void)
{
    pn_link a, b;
    bool full;
    uint64_t next = 1;
    connect_links(&a, &b);
    put(&a, PN_TELL, 1, 100000);
    fail_after(0);
    CHECK_INT(pn_link_flush(&a), PN_ENOMEM);
    fail_never();
    CHECK_INT(pn_link_flush(&a), PN_OK);
    fail_after(0);
    CHECK_INT(pn_link_receive(&b, &full), PN_ENOMEM);
    fail_never();
    CHECK_INT(receive_all(&b, &next), PN_MORE);
    CHECK_INT(next, 2);
    pn_link_close(&a);
    pn_link_close(&b);
    CHECK_INT(live_blocks(), 0);
}

static void
test_hanging_up_ends_the_link_and_keeps_what_was_lent(void)
{
    pn_link a, b;
    pn_part part;
    bool full;
    int before = open_descriptors();
    connect_links(&a, &b);
    put(&a, PN_TELL, 1, 1000);
    CHECK_INT(pn_link_flush(&a), PN_OK);
    CHECK_INT(pn_link_receive(&b, &full), PN_OK);
    CHECK_INT(pn_inbox_next(&b.in, &part), PN_OK);
    pn_link_hang_up(&b);
    pn_link_hang_up(&b);
    CHECK(memcmp(part.payload, pattern, 1000) == 0);
    CHECK_INT(pn_link_receive(&b, &full), PN_ECLOSED);
    CHECK_INT(pn_link_flush(&b), PN_ECLOSED);
    CHECK_INT(pn_link_receive(&a, &full), PN_ECLOSED);
    pn_link_close(&a);
    pn_link_close(&b);
    CHECK_INT(open_descriptors(), before);
    CHECK_INT(live_blocks(), 0);
}

static void
test_the_last_word_is_followed_by_the_end_of_file_one_way_only(void)
{
    static const pn_envelope last = {.kind = PN_SWITCH, .id = 2};
    pn_link a, b;
    uint64_t next = 1;
    connect_links(&a, &b);
    put(&a, PN_TELL, 1, 500000);
    CHECK_INT(pn_link_finish(&a, &last), PN_MORE); /* something waits */
    CHECK_INT(pn_link_flush(&a), PN_MORE);
    while (pn_link_flush(&a) == PN_MORE)
        CHECK_INT(receive_all(&b, &next), PN_MORE);
    CHECK_INT(pn_link_finish(&a, &last), PN_OK);
    CHECK_INT(receive_all(&b, &next), PN_ECLOSED);
    CHECK_INT(next, 3);
    next = 1;
    put(&b, PN_TELL, 1, 1000);
    CHECK_INT(pn_link_flush(&b), PN_OK);
    CHECK_INT(receive_all(&a, &next), PN_MORE);
    CHECK_INT(next, 2);
    pn_link_close(&b);
    CHECK_INT(receive_all(&a, &next), PN_ECLOSED);
    CHECK_INT(pn_link_finish(&a, &last), -EPIPE);
    pn_link_close(&a);
    CHECK_INT(pn_link_finish(&a, &last), PN_ECLOSED);
    CHECK_INT(live_blocks(), 0);
}

static void
test_the_last_word_waits_for_room_in_the_kernel(void)
{
    static const pn_envelope last = {.kind = PN_SWITCH, .id = 2};
    static uint8_t room[1 << 20];
    pn_link a, b;
    ssize_t sent, filled = 0;
    connect_links(&a, &b);
    while ((sent = send(a.fd, pattern, 4000, MSG_DONTWAIT)) > 0)
        filled += sent;
    CHECK_INT(pn_link_finish(&a, &last), PN_MORE);
    while (filled > 0)
        filled -= recv(b.fd, room, sizeof room, MSG_DONTWAIT);
    CHECK_INT(filled, 0); /* nothing of it had left */
    CHECK_INT(pn_link_finish(&a, &last), PN_OK);
    pn_link_close(&a);
    pn_link_close(&b);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    fill_pattern();
    RUN(test_pair_is_closed_on_exec_and_blocks_no_link);
    RUN(test_messages_of_all_sizes_pass_through_a_full_kernel_buffer);
    RUN(test_control_is_never_behind_more_than_256_kib);
    RUN(test_full_reads_are_told);
    RUN(test_first_bytes_tell_who_sent_them);
    RUN(test_bytes_without_credentials_make_nobody_known);
    RUN(test_end_of_file_comes_behind_the_last_bytes);
    RUN(test_sending_to_a_peer_that_has_gone_fails);
    RUN(test_descriptor_is_taken_over_even_on_failure);
    RUN(test_closed_link_moves_nothing);
    RUN(test_hanging_up_ends_the_link_and_keeps_what_was_lent);
    RUN(test_without_memory_the_bytes_stay_in_the_kernel);
    RUN(test_the_last_word_is_followed_by_the_end_of_file_one_way_only);
    RUN(test_the_last_word_waits_for_room_in_the_kernel);
    return 0;
}
