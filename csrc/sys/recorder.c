#include "sys/recorder.h"

#include "base/status.h"
#include "sys/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x31636552736c7550u /* "PulsRec1" */
#define VERSION 2

/* Others map it: it must never be cut short under them. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_SEAL)

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "processes share it");
_Static_assert(sizeof(pn_recorder_entry) == 64, "a line of the cache");
_Static_assert(sizeof(pn_recorder_loop) % 64 == 0, "so many lines");

/* --- its life --- */

static int
map(int fd, pn_recorder *out)
{
    struct stat found;
    /* Only a memfd has seals. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return PN_EPROTO;
    if (fstat(fd, &found) < 0)
        return -errno;
    if (found.st_size < (off_t)PN_RECORDER_SIZE)
        return PN_EPROTO;
    void *page = mmap(NULL, PN_RECORDER_SIZE, PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    *out = (pn_recorder){.fd = fd, .page = page};
    return 0;
}

static int64_t
wall_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Not filled as segments are: most of it is never touched. */
static int
make_file(void)
{
    int fd = memfd_create(PN_RECORDER_FILE, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)PN_RECORDER_SIZE) == 0 &&
        fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        return fd;
    int err = -errno;
    (void)close(fd);
    return err;
}

int
pn_recorder_make(pn_recorder *out)
{
    int fd = make_file();
    if (fd < 0)
        return fd;
    int err = map(fd, out);
    if (err < 0) {
        (void)close(fd);
        return err;
    }
    out->page->magic = MAGIC;
    out->page->version = VERSION;
    out->page->made = pn_clock_now();
    out->page->made_wall = wall_now();
    return 0;
}

int
pn_recorder_open(pn_recorder *out, int fd)
{
    pn_recorder opened;
    int err = map(fd, &opened);
    if (err < 0)
        return err;
    if (opened.page->magic != MAGIC)
        err = PN_EPROTO;
    else if (opened.page->version != VERSION)
        err = PN_EVERSION;
    if (err < 0)
        (void)munmap(opened.page, PN_RECORDER_SIZE);
    else
        *out = opened;
    return err;
}

void
pn_recorder_close(pn_recorder *self)
{
    if (self->page == NULL)
        return;
    (void)munmap(self->page, PN_RECORDER_SIZE);
    (void)close(self->fd);
    *self = (pn_recorder){.fd = -1};
}

void
pn_recorder_own(pn_recorder *self)
{
    atomic_store_explicit(&self->page->pid, (int32_t)getpid(),
                          memory_order_release);
}

/* --- loops --- */

/* All but its last byte, which stays NUL; the rest is NUL, too. */
static void
set_text(char *to, size_t size, const char *text)
{
    memset(to, 0, size);
    memcpy(to, text, strnlen(text, size - 1));
}

static void
reset(pn_recorder_loop *loop)
{
    loop->manager = 0;
    loop->beats = 0;
    loop->awake = 0;
    loop->turned = 0;
    loop->commands = 0;
    loop->handled = 0;
    loop->state = 0;
    loop->cells = 0;
    loop->asks = 0;
    loop->running = 0;
    loop->waiting = 0;
}

pn_recorder_loop *
pn_recorder_enter(pn_recorder *self, uint64_t node, uint64_t manager,
                  const char *kind, const char *name)
{
    for (size_t i = 0; i < PN_RECORDER_LOOPS; i++) {
        pn_recorder_loop *loop = &self->page->loops[i];
        uint64_t nobody = 0;
        if (!atomic_compare_exchange_strong(&loop->node, &nobody, UINT64_MAX))
            continue;
        reset(loop);
        loop->manager = manager;
        loop->thread = (uint32_t)syscall(SYS_gettid);
        set_text(loop->kind, sizeof loop->kind, kind);
        set_text(loop->name, sizeof loop->name, name);
        atomic_store(&loop->node, node);
        return loop;
    }
    return NULL;
}

void
pn_recorder_leave(pn_recorder_loop *loop)
{
    atomic_store(&loop->node, 0);
}

pn_recorder_loop *
pn_recorder_find(const pn_recorder *self, uint64_t node)
{
    for (size_t i = 0; i < PN_RECORDER_LOOPS; i++) {
        pn_recorder_loop *loop = &self->page->loops[i];
        if (atomic_load_explicit(&loop->node, memory_order_acquire) == node)
            return loop;
    }
    return NULL;
}

/* --- fuses --- */

static void
place(pn_recorder_place *to, pn_recorder_ask ask)
{
    atomic_store_explicit(&to->source, ask.source, memory_order_relaxed);
    atomic_store_explicit(&to->id, ask.id, memory_order_relaxed);
}

static pn_recorder_ask
ask_of(const pn_recorder_place *from)
{
    return (pn_recorder_ask){
        .source = atomic_load_explicit(&from->source, memory_order_relaxed),
        .id = atomic_load_explicit(&from->id, memory_order_relaxed),
    };
}

/* Whether what is gone is who asked that. */
static bool
is_of(pn_recorder_ask ask, pn_recorder_ask gone)
{
    if (gone.id != 0)
        return gone.source == ask.source && gone.id == ask.id;
    return pn_node_of(gone.source) == pn_node_of(ask.source);
}

/* In a place that may be read meanwhile: never half of two. */
static void
place_gone(pn_recorder_place *to, pn_recorder_ask ask)
{
    atomic_store_explicit(&to->source, 0, memory_order_relaxed);
    atomic_store_explicit(&to->id, ask.id, memory_order_release);
    atomic_store_explicit(&to->source, ask.source, memory_order_release);
}

/* Source 0 if it is being written. */
static pn_recorder_ask
gone_of(const pn_recorder_place *from)
{
    pn_recorder_ask ask;
    ask.source = atomic_load_explicit(&from->source, memory_order_acquire);
    ask.id = atomic_load_explicit(&from->id, memory_order_acquire);
    if (atomic_load_explicit(&from->source, memory_order_relaxed) !=
        ask.source)
        ask.source = 0;
    return ask;
}

static bool
is_gone(const pn_recorder_fuse *fuse, pn_recorder_ask ask)
{
    uint32_t count = atomic_load(&fuse->gones);
    if (count > PN_RECORDER_GONE)
        count = PN_RECORDER_GONE;
    for (uint32_t i = 0; i < count; i++) {
        pn_recorder_ask gone = gone_of(&fuse->gone[i]);
        if (gone.source != 0 && is_of(ask, gone))
            return true;
    }
    return false;
}

uint64_t
pn_recorder_light(pn_recorder_page *page, pn_recorder_ask ask,
                  const pn_recorder_ask *begun, uint32_t count)
{
    pn_recorder_fuse *fuse = &page->fuse;
    uint64_t number =
        1 + atomic_fetch_add_explicit(&fuse->lit, 1, memory_order_relaxed);
    if (count > PN_RECORDER_BEGUN)
        count = PN_RECORDER_UNKNOWN;
    place(&fuse->ask, ask);
    for (uint32_t i = 0; count != PN_RECORDER_UNKNOWN && i < count; i++)
        place(&fuse->begun[i], begun[i]);
    atomic_store_explicit(&fuse->count, count, memory_order_relaxed);
    atomic_store(&fuse->burns, number);
    if (is_gone(fuse, ask) && pn_recorder_put_out(page, number))
        return 0;
    return number;
}

bool
pn_recorder_put_out(pn_recorder_page *page, uint64_t fuse)
{
    return atomic_compare_exchange_strong(&page->fuse.burns, &fuse, 0);
}

bool
pn_recorder_doom(const pn_recorder *self, pn_recorder_ask ask)
{
    pn_recorder_fuse *fuse = &self->page->fuse;
    uint32_t count = atomic_load_explicit(&fuse->gones, memory_order_relaxed);
    place_gone(&fuse->gone[count % PN_RECORDER_GONE], ask);
    atomic_store(&fuse->gones, count + 1);
    uint64_t burns = atomic_load(&fuse->burns);
    if (burns == 0 || burns == PN_RECORDER_DOOMED ||
        !is_of(ask_of(&fuse->ask), ask))
        return false;
    return atomic_compare_exchange_strong(&fuse->burns, &burns,
                                          PN_RECORDER_DOOMED);
}

int
pn_recorder_begun(const pn_recorder *self,
                  pn_recorder_ask out[PN_RECORDER_BEGUN + 1])
{
    const pn_recorder_fuse *fuse = &self->page->fuse;
    uint32_t count = atomic_load(&fuse->count);
    if (atomic_load(&fuse->burns) == 0 || count > PN_RECORDER_BEGUN)
        return -1;
    out[0] = ask_of(&fuse->ask);
    for (uint32_t i = 0; i < count; i++)
        out[i + 1] = ask_of(&fuse->begun[i]);
    return (int)count + 1;
}

/* --- reading --- */

bool
pn_recorder_is_busy(const pn_recorder_loop *loop, pn_recorder_busy *out)
{
    uint64_t command[PN_RECORDER_COMMAND / 8];
    uint64_t before =
        atomic_load_explicit(&loop->commands, memory_order_acquire);
    if ((before & 1) == 0)
        return false;
    out->began = atomic_load_explicit(&loop->began, memory_order_acquire);
    out->actor = atomic_load_explicit(&loop->actor, memory_order_acquire);
    for (size_t i = 0; i < PN_RECORDER_COMMAND / 8; i++)
        command[i] =
            atomic_load_explicit(&loop->command[i], memory_order_acquire);
    memcpy(out->command, command, sizeof command);
    out->command[PN_RECORDER_COMMAND] = 0;
    return atomic_load_explicit(&loop->commands, memory_order_relaxed) ==
           before;
}

uint64_t
pn_recorder_written(const pn_recorder *self)
{
    return atomic_load_explicit(&self->page->written, memory_order_acquire);
}

uint64_t
pn_recorder_oldest(uint64_t written)
{
    return written < PN_RECORDER_RECORDS ? 0 : written - PN_RECORDER_RECORDS;
}

static void
decode(const uint64_t *words, pn_recorder_record *out)
{
    *out = (pn_recorder_record){
        .index = words[0] - 1,
        .time = (int64_t)words[1],
        .source = words[2],
        .target = words[3],
        .id = words[4],
        .size = (uint32_t)(words[5] >> 32),
        .what = (uint8_t)(words[5] >> 8),
        .kind = (uint8_t)words[5],
    };
    memcpy(out->name, words + 6, PN_RECORDER_NAME);
}

int
pn_recorder_read(const pn_recorder *self, uint64_t index,
                 pn_recorder_record *out)
{
    uint64_t words[8];
    const _Atomic uint64_t *from =
        self->page->records[index % PN_RECORDER_RECORDS].words;
    if (index >= pn_recorder_written(self))
        return PN_MORE;
    for (size_t i = 0; i < 8; i++)
        words[i] = atomic_load_explicit(&from[i], memory_order_acquire);
    if (words[0] != index + 1 ||
        atomic_load_explicit(&from[0], memory_order_relaxed) != index + 1)
        return PN_ECLOSED;
    decode(words, out);
    return PN_OK;
}

/* --- stacks --- */

int64_t
pn_recorder_stacks_size(const pn_recorder *self)
{
    struct stat found;
    if (fstat(self->fd, &found) < 0)
        return -errno;
    return (int64_t)found.st_size - (int64_t)PN_RECORDER_SIZE;
}

int64_t
pn_recorder_read_stacks(const pn_recorder *self, int64_t from, void *to,
                        size_t size)
{
    off_t at;
    if (__builtin_add_overflow(from, (int64_t)PN_RECORDER_SIZE, &at))
        return 0;
    ssize_t got = pread(self->fd, to, size, at);
    return got < 0 ? -errno : (int64_t)got;
}

void
pn_recorder_drop_stacks(const pn_recorder *self)
{
    int64_t size = pn_recorder_stacks_size(self);
    if (size > 0)
        (void)fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)PN_RECORDER_SIZE, (off_t)size);
}
