/* The receiver's segments: lent once at a time, given back from any thread,
 * and alive until the last holder lets go, whatever became of the link. */
#include "check.h"

#include "base/status.h"
#include "sys/segment.h"
#include "sys/segshelf.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define SIZE ((size_t)65536)
#define THREADS 4
#define ROUNDS 2000

/* A descriptor of a new segment whose bytes are all `byte`. */
static int
segment(size_t size, int byte)
{
    int fd;
    uint8_t *data;
    CHECK_INT(pn_segment_make(size, &fd, &data), 0);
    memset(data, byte, size);
    pn_segment_unmap(data, size);
    return fd;
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

static pn_segshelf *
shelf_of(size_t count)
{
    pn_segshelf *shelf = pn_segshelf_new(16 * SIZE, 8);
    CHECK(shelf != NULL);
    for (uint64_t id = 1; id <= count; id++)
        CHECK_INT(pn_segshelf_add(shelf, id, SIZE, segment(SIZE, (int)id)),
                  PN_OK);
    return shelf;
}

static void
test_lent_payload_is_what_the_sender_wrote(void)
{
    pn_segshelf *shelf = shelf_of(1);
    pn_ref ref;
    uint64_t id = 0;
    CHECK_INT(pn_segshelf_lend(shelf, 1, 1000, &ref), PN_OK);
    CHECK_INT(ref.size, 1000);
    CHECK_INT(ref.data[999], 1);
    ((uint8_t *)(uintptr_t)ref.data)[0] = 9; /* it is writable */
    CHECK(!pn_segshelf_returned(shelf, &id));
    pn_ref_release(&ref);
    CHECK(pn_segshelf_returned(shelf, &id));
    CHECK_INT(id, 1);
    CHECK(!pn_segshelf_returned(shelf, &id));
    pn_segshelf_close(shelf);
}

static void
test_segment_is_lent_once_at_a_time(void)
{
    pn_segshelf *shelf = shelf_of(1);
    pn_ref ref, other;
    uint64_t id;
    CHECK_INT(pn_segshelf_lend(shelf, 1, SIZE, &ref), PN_OK);
    CHECK_INT(pn_segshelf_lend(shelf, 1, SIZE, &other), PN_EPROTO);
    CHECK_INT(pn_segshelf_drop(shelf, 1), PN_EPROTO);
    pn_ref_release(&ref);
    /* Until the far end is told it has no business with the segment. */
    CHECK_INT(pn_segshelf_lend(shelf, 1, SIZE, &other), PN_EPROTO);
    CHECK(pn_segshelf_returned(shelf, &id));
    CHECK_INT(pn_segshelf_lend(shelf, 1, SIZE, &other), PN_OK);
    pn_ref_release(&other);
    pn_segshelf_close(shelf);
}

static void
test_wrong_words_of_a_peer(void)
{
    pn_segshelf *shelf = shelf_of(1);
    pn_ref ref;
    CHECK_INT(pn_segshelf_lend(shelf, 2, SIZE, &ref), PN_EPROTO);
    CHECK_INT(pn_segshelf_lend(shelf, 1, SIZE + 1, &ref), PN_EPROTO);
    CHECK_INT(pn_segshelf_drop(shelf, 2), PN_EPROTO);
    CHECK_INT(pn_segshelf_add(shelf, 1, SIZE, segment(SIZE, 0)), PN_EPROTO);
    CHECK_INT(pn_segshelf_add(shelf, 2, 2 * SIZE, segment(SIZE, 0)),
              PN_EPROTO);
    CHECK_INT(pn_segshelf_add(shelf, 2, SIZE, dup(0)), PN_EPROTO);
    CHECK_INT(pn_segshelf_count(shelf), 1);
    pn_segshelf_close(shelf);
}

static void
test_what_cannot_be_mapped_is_refused(void)
{
    pn_segshelf *shelf = shelf_of(8);
    CHECK_INT(pn_segshelf_add(shelf, 9, SIZE, -1), -EMFILE);
    CHECK_INT(pn_segshelf_add(shelf, 9, SIZE, segment(SIZE, 0)), PN_EFULL);
    CHECK_INT(pn_segshelf_drop(shelf, 8), PN_OK);
    CHECK_INT(pn_segshelf_add(shelf, 9, 10 * SIZE, segment(10 * SIZE, 0)),
              PN_EFULL);
    CHECK_INT(pn_segshelf_add(shelf, 9, SIZE, segment(SIZE, 0)), PN_OK);
    CHECK_INT(pn_segshelf_count(shelf), 8);
    pn_segshelf_close(shelf);
}

static void
test_descriptors_are_closed_whatever_happens(void)
{
    int before = open_descriptors();
    test_wrong_words_of_a_peer();
    test_what_cannot_be_mapped_is_refused();
    CHECK_INT(open_descriptors(), before);
}

static void
test_payload_outlives_the_link(void)
{
    pn_segshelf *shelf = shelf_of(3);
    pn_ref one, two;
    CHECK_INT(pn_segshelf_lend(shelf, 1, SIZE, &one), PN_OK);
    CHECK_INT(pn_segshelf_lend(shelf, 2, SIZE, &two), PN_OK);
    pn_ref_release(&one); /* released and not collected */
    pn_segshelf_close(shelf);
    CHECK_INT(two.data[SIZE - 1], 2);
    CHECK(live_blocks() > 0);
    pn_ref_release(&two);
    CHECK_INT(live_blocks(), 0);
}

static void
test_failing_allocations_leave_nothing(void)
{
    for (long n = 0; n < 8; n++) {
        int before = open_descriptors();
        int fd = segment(SIZE, 0);
        fail_after(n);
        pn_segshelf *shelf = pn_segshelf_new(SIZE, 1);
        int err =
            shelf == NULL ? PN_ENOMEM : pn_segshelf_add(shelf, 1, SIZE, fd);
        fail_never();
        if (shelf == NULL)
            CHECK_INT(close(fd), 0);
        CHECK(err == PN_OK || err == PN_ENOMEM);
        CHECK(shelf == NULL || pn_segshelf_count(shelf) == (err == PN_OK));
        pn_segshelf_close(shelf);
        CHECK_INT(live_blocks(), 0);
        CHECK_INT(open_descriptors(), before);
    }
}

/* --- threads --- */

typedef struct {
    pthread_mutex_t lock;
    pn_ref refs[THREADS];
    size_t count;
    bool over;
} handover;

static void *
release_what_comes(void *arg)
{
    handover *shared = arg;
    for (bool over = false; !over;) {
        pn_ref ref = {0};
        CHECK_INT(pthread_mutex_lock(&shared->lock), 0);
        over = shared->over && shared->count == 0;
        if (shared->count > 0)
            ref = shared->refs[--shared->count];
        CHECK_INT(pthread_mutex_unlock(&shared->lock), 0);
        if (ref.data != NULL)
            ((uint8_t *)(uintptr_t)ref.data)[0] = 77;
        pn_ref_release(&ref);
    }
    return NULL;
}

/* Lend a segment to the threads, once it is back; whether it could be. */
static bool
lend_to_threads(pn_segshelf *shelf, handover *shared, uint64_t id)
{
    pn_ref ref;
    if (pn_segshelf_lend(shelf, id, SIZE, &ref) != PN_OK)
        return false;
    CHECK_INT(pthread_mutex_lock(&shared->lock), 0);
    shared->refs[shared->count++] = ref;
    CHECK_INT(pthread_mutex_unlock(&shared->lock), 0);
    return true;
}

static void
test_threads_give_back_what_they_release(void)
{
    pn_segshelf *shelf = shelf_of(THREADS);
    handover shared = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS];
    int lent = 0, back = 0;
    uint64_t id;
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(
            pthread_create(&threads[i], NULL, release_what_comes, &shared), 0);
    while (lent < ROUNDS) {
        for (uint64_t i = 1; i <= THREADS; i++)
            lent += lend_to_threads(shelf, &shared, i);
        while (pn_segshelf_returned(shelf, &id))
            back++;
    }
    pn_segshelf_close(shelf); /* while some are still held */
    CHECK(back <= lent && back >= lent - THREADS);
    CHECK_INT(pthread_mutex_lock(&shared.lock), 0);
    shared.over = true;
    CHECK_INT(pthread_mutex_unlock(&shared.lock), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_lent_payload_is_what_the_sender_wrote);
    RUN(test_segment_is_lent_once_at_a_time);
    RUN(test_wrong_words_of_a_peer);
    RUN(test_what_cannot_be_mapped_is_refused);
    RUN(test_descriptors_are_closed_whatever_happens);
    RUN(test_payload_outlives_the_link);
    RUN(test_failing_allocations_leave_nothing);
    RUN(test_threads_give_back_what_they_release);
    CHECK_INT(live_blocks(), 0);
    return 0;
}
