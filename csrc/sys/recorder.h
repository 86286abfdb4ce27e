/* The flight recorder: one page of memory a process, in which its loops write
 * what they do, and which others map, too: its arbiter, also when SIGKILL has
 * ended it, and whoever looks from outside. A memfd, laid out as
 *
 *   head | PN_RECORDER_LOOPS loops | PN_RECORDER_RECORDS records | stacks
 *
 * A loop is written by its own thread, records by all threads of the process.
 * The stacks are text that is appended to the file, which can grow but never
 * shrink: each who reads them knows how far he has come. Readers never stop a
 * writer: what they read is as it was at one moment (sequences tell), or left
 * out.
 *   - `commands` of a loop is odd exactly while a plain function runs, and
 *     what is said of that function is not changed meanwhile;
 *   - record i lies at i modulo their number; its first word is i + 1 once
 *     the others are written, and 0 while they are;
 *   - memory is taken as it is touched.
 * Times are monotonic ns. The page of a process that has ended stays as it
 * was. Nobody trusts it: a process may have written anything there. */
#ifndef PN_SYS_RECORDER_H
#define PN_SYS_RECORDER_H

#include "mailbox/envelope.h"

#include <stdatomic.h>
#include <string.h>

#define PN_RECORDER_LOOPS 64
#define PN_RECORDER_RECORDS 1024
#define PN_RECORDER_NAME 16    /* bytes of a name that a record keeps */
#define PN_RECORDER_COMMAND 40 /* the same of a command that runs */
#define PN_RECORDER_BEGUN 64   /* asks that a fuse tells of */
#define PN_RECORDER_GONE 16    /* askers that are gone and remembered */
#define PN_RECORDER_FILE "pn_recorder" /* what /proc calls it */

/* What a record tells of a message, or that an actor came into a state. */
enum {
    PN_RECORD_SENT = 1,
    PN_RECORD_RECEIVED,
    PN_RECORD_PASSED, /* from others to others */
    PN_RECORD_STATE,  /* source: the actor; id: its state */
};

typedef struct {
    _Atomic uint64_t words[8];
} pn_recorder_entry;

/* One loop, which is a node. Of `kind` and `name` the rest is NUL. */
typedef struct {
    _Alignas(64) _Atomic uint64_t node; /* its number; 0: nobody's */
    _Atomic uint64_t manager;  /* number of the node that manages it, or 0 */
    _Atomic uint64_t beats;    /* turns of the loop */
    _Atomic int64_t awake;     /* since when; 0: it sleeps, or does not tell */
    _Atomic int64_t turned;    /* end of the latest turn, if it does not
                                * tell; else 0 */
    _Atomic uint64_t commands; /* sequence of plain functions */
    _Atomic int64_t began;     /* of the latest: when it began, */
    _Atomic uint64_t actor;    /* whose it is, */
    _Atomic uint64_t command[PN_RECORDER_COMMAND / 8]; /* and its name */
    _Atomic uint64_t handled; /* commands run so far */
    _Atomic uint32_t state;   /* of the node's own actor */
    _Atomic uint32_t thread;  /* as the kernel numbers it */
    _Atomic uint32_t cells;   /* other actors that live in it */
    _Atomic uint32_t asks;    /* that wait for their answers */
    _Atomic uint32_t running; /* requests of its own actor under way, */
    _Atomic uint32_t waiting; /* and messages that wait for it */
    char kind[16];
    char name[64];
} pn_recorder_loop;

/* An ask, as its target knows it. */
typedef struct {
    uint64_t source;
    uint64_t id; /* 0: all of the node that source lives in */
} pn_recorder_ask;

typedef struct {
    _Atomic uint64_t source;
    _Atomic uint64_t id;
} pn_recorder_place;

/* The ask whose plain function may cost the process (a fuse burns), and what
 * the arbiter says of those who asked. The process writes `lit`, `ask` and
 * `begun`, the arbiter `gone`; both change `burns`:
 *   - 0: no fuse burns; PN_RECORDER_DOOMED: the arbiter ends the process, and
 *     that ask's answer leaves no more; else the number of the fuse, which
 *     none had before and none will have;
 *   - while a fuse burns, what is said of it does not change;
 *   - the arbiter writes who is gone before it looks what burns, the process
 *     what burns before it looks who is gone: one of them sees the other. */
typedef struct {
    _Alignas(64) _Atomic uint64_t burns;
    _Atomic uint64_t lit; /* fuses so far */
    pn_recorder_place ask;
    _Atomic uint32_t count; /* of begun; PN_RECORDER_UNKNOWN: not known */
    _Atomic uint32_t gones; /* written, ever */
    pn_recorder_place begun[PN_RECORDER_BEGUN]; /* other asks: not answered */
    pn_recorder_place gone[PN_RECORDER_GONE];
} pn_recorder_fuse;

#define PN_RECORDER_DOOMED UINT64_MAX
#define PN_RECORDER_UNKNOWN UINT32_MAX

typedef struct {
    uint64_t magic;
    uint32_t version;
    _Atomic int32_t pid; /* of the process that writes; 0: not yet there */
    int64_t made;        /* monotonic ns, */
    int64_t made_wall;   /* and the same moment by the wall clock */
    _Alignas(64) _Atomic uint64_t written; /* records, ever */
    pn_recorder_fuse fuse;                 /* of the process's first loop */
    _Alignas(64) pn_recorder_loop loops[PN_RECORDER_LOOPS];
    _Alignas(64) pn_recorder_entry records[PN_RECORDER_RECORDS];
} pn_recorder_page;

/* Where the stacks begin. */
#define PN_RECORDER_SIZE ((sizeof(pn_recorder_page) + 4095) & ~(size_t)4095)

/* A recorder as a process holds it. */
typedef struct {
    int fd;                 /* close-on-exec; -1 once closed */
    pn_recorder_page *page; /* NULL once closed */
} pn_recorder;

/* Make one, empty. 0, or -errno: EPERM or ENOSYS where memfd is refused. */
int pn_recorder_make(pn_recorder *out);

/* Map that of another process, or that was made for this one: fd is taken
 * over on success. PN_EPROTO if it is none, PN_EVERSION if one of another
 * layout, or -errno. */
int pn_recorder_open(pn_recorder *out, int fd);

/* Unmap and close it. Harmless when repeated. */
void pn_recorder_close(pn_recorder *self);

/* This process is the one that writes. */
void pn_recorder_own(pn_recorder *self);

/* A free loop of the page, now this thread's and node's; NULL if all are
 * taken. */
pn_recorder_loop *pn_recorder_enter(pn_recorder *self, uint64_t node,
                                    uint64_t manager, const char *kind,
                                    const char *name);

/* Give it back: nobody writes to it any more. */
void pn_recorder_leave(pn_recorder_loop *loop);

/* The loop of node; NULL if the page has none. */
pn_recorder_loop *pn_recorder_find(const pn_recorder *self, uint64_t node);

/* --- writing; hot, so inline --- */

/* A message, whose payload has so many bytes, or a state: the envelope's
 * numbers and name. */
static inline void
pn_recorder_write(pn_recorder_page *page, int what, int64_t time,
                  const pn_envelope *env, uint64_t size)
{
    uint64_t name[PN_RECORDER_NAME / 8] = {0};
    uint64_t index =
        atomic_fetch_add_explicit(&page->written, 1, memory_order_relaxed);
    _Atomic uint64_t *to = page->records[index % PN_RECORDER_RECORDS].words;
    uint64_t bytes = size < UINT32_MAX ? size : UINT32_MAX;
    size_t length = env->command_size;
    memcpy(name, env->command == NULL ? "" : env->command,
           length < sizeof name ? length : sizeof name);
    atomic_store_explicit(&to[0], 0, memory_order_relaxed);
    atomic_store_explicit(&to[1], (uint64_t)time, memory_order_release);
    atomic_store_explicit(&to[2], env->source, memory_order_release);
    atomic_store_explicit(&to[3], env->target, memory_order_release);
    atomic_store_explicit(&to[4], env->id, memory_order_release);
    atomic_store_explicit(&to[5],
                          bytes << 32 | (uint64_t)what << 8 | env->kind,
                          memory_order_release);
    atomic_store_explicit(&to[6], name[0], memory_order_release);
    atomic_store_explicit(&to[7], name[1], memory_order_release);
    atomic_store_explicit(&to[0], index + 1, memory_order_release);
}

/* A plain function begins; false if one runs already, whose end is told. */
static inline bool
pn_recorder_begin(pn_recorder_loop *loop, int64_t now, uint64_t actor,
                  const char *command, size_t size)
{
    uint64_t name[PN_RECORDER_COMMAND / 8] = {0};
    uint64_t count =
        atomic_load_explicit(&loop->commands, memory_order_relaxed);
    if (count & 1)
        return false;
    memcpy(name, command, size < sizeof name ? size : sizeof name);
    atomic_store_explicit(&loop->began, now, memory_order_release);
    atomic_store_explicit(&loop->actor, actor, memory_order_release);
    for (size_t i = 0; i < PN_RECORDER_COMMAND / 8; i++)
        atomic_store_explicit(&loop->command[i], name[i],
                              memory_order_release);
    atomic_store_explicit(&loop->commands, count + 1, memory_order_release);
    return true;
}

/* It has ended. */
static inline void
pn_recorder_end(pn_recorder_loop *loop)
{
    uint64_t count =
        atomic_load_explicit(&loop->commands, memory_order_relaxed);
    atomic_store_explicit(&loop->commands, count + 1, memory_order_release);
    atomic_store_explicit(&loop->handled, count / 2 + 1, memory_order_relaxed);
}

/* The loop has woken, and begins a turn. */
static inline void
pn_recorder_beat(pn_recorder_loop *loop, int64_t now)
{
    uint64_t beats = atomic_load_explicit(&loop->beats, memory_order_relaxed);
    atomic_store_explicit(&loop->awake, now, memory_order_relaxed);
    atomic_store_explicit(&loop->beats, beats + 1, memory_order_relaxed);
}

/* It has made a turn, of which its end alone is known. */
static inline void
pn_recorder_turn(pn_recorder_loop *loop, int64_t now)
{
    uint64_t beats = atomic_load_explicit(&loop->beats, memory_order_relaxed);
    atomic_store_explicit(&loop->turned, now, memory_order_relaxed);
    atomic_store_explicit(&loop->beats, beats + 1, memory_order_relaxed);
}

/* It is about to sleep. */
static inline void
pn_recorder_sleep(pn_recorder_loop *loop)
{
    atomic_store_explicit(&loop->awake, 0, memory_order_relaxed);
}

/* --- fuses --- */

/* That ask's plain function is about to run, and may cost the process; count
 * others have begun and are not answered (PN_RECORDER_UNKNOWN, or more than
 * PN_RECORDER_BEGUN: not known). The fuse's number; 0 if who asked is gone: it
 * is not to run. One thread; not while one burns. */
uint64_t pn_recorder_light(pn_recorder_page *page, pn_recorder_ask ask,
                           const pn_recorder_ask *begun, uint32_t count);

/* The function has ended; false: the process is doomed, and may say nothing
 * more. */
bool pn_recorder_put_out(pn_recorder_page *page, uint64_t fuse);

/* In the arbiter: who asked that is gone. Whether its process is to be ended:
 * then the function runs, and its end comes too late. */
bool pn_recorder_doom(const pn_recorder *self, pn_recorder_ask ask);

/* Of a process that has ended: the asks that had begun, where it was ended
 * under a fuse: how many of at most PN_RECORDER_BEGUN + 1 were written to out,
 * or -1 if that is not known, or no fuse burnt. */
int pn_recorder_begun(const pn_recorder *self,
                      pn_recorder_ask out[PN_RECORDER_BEGUN + 1]);

/* --- reading --- */

typedef struct {
    uint64_t index; /* counts up over all */
    int64_t time;
    uint64_t source;
    uint64_t target;
    uint64_t id;
    uint32_t size; /* bytes of the payload, at most 2**32 - 1 */
    uint8_t kind;  /* of the message */
    uint8_t what;
    char name[PN_RECORDER_NAME + 1]; /* NUL behind it */
} pn_recorder_record;

typedef struct {
    int64_t began;
    uint64_t actor;
    char command[PN_RECORDER_COMMAND + 1];
} pn_recorder_busy;

/* Whether the loop sleeps, as far as it tells. */
static inline bool
pn_recorder_is_asleep(const pn_recorder_loop *loop)
{
    return loop->beats != 0 && loop->turned == 0 && loop->awake == 0;
}

/* Whether a plain function runs in the loop, and which. */
bool pn_recorder_is_busy(const pn_recorder_loop *loop, pn_recorder_busy *out);

/* How many records were written, ever: the indices are below. */
uint64_t pn_recorder_written(const pn_recorder *self);

/* The index of the oldest record that may still be there, once so many were
 * written. Of that number, which the writer may change at any time, so that
 * who walks from the one to the other comes to an end. */
uint64_t pn_recorder_oldest(uint64_t written);

/* Read the record of that index. PN_MORE if there is none so late, PN_ECLOSED
 * if it is not there any more, or is being written. */
int pn_recorder_read(const pn_recorder *self, uint64_t index,
                     pn_recorder_record *out);

/* How many bytes of stacks were ever written; or -errno. */
int64_t pn_recorder_stacks_size(const pn_recorder *self);

/* Copy at most size bytes of them, from the given one on: how many there were,
 * or -errno. */
int64_t pn_recorder_read_stacks(const pn_recorder *self, int64_t from,
                                void *to, size_t size);

/* Give back the memory of all that were written so far; they read as NUL. */
void pn_recorder_drop_stacks(const pn_recorder *self);

#endif
