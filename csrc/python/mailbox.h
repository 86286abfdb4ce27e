/* The type Mailbox: a node, which is one event loop's end of messaging, over
 * the engine's links, pending table and router. Its actors are cells (cell.h):
 * `main`, and coroutine actors beside it. This header is for the files of the
 * type: mailbox.c (life), mailbox_connect.c and mailbox_link.c (links),
 * mailbox_turn.c, mailbox_cells.c, mailbox_send.c (asks and tells),
 * mailbox_post.c (other kinds), mailbox_receive.c (where a message goes),
 * mailbox_relay.c, mailbox_run.c (commands), mailbox_reply.c (answers),
 * mailbox_dead.c, mailbox_payload.c, mailbox_cancel.c (deadlines); and for
 * those whose objects belong to one. Others include mailbox_type.h.
 *
 * Everything here runs on the thread of the mailbox's loop, with the GIL.
 * A call into Python may re-enter any method: so links are buried while
 * `busy`, and freed once it is over. */
#ifndef PN_PYTHON_MAILBOX_H
#define PN_PYTHON_MAILBOX_H

#include "mailbox/deadlines.h"
#include "mailbox/extension.h"
#include "mailbox/hello.h"
#include "mailbox/park.h"
#include "mailbox/pending.h"
#include "mailbox/recalled.h"
#include "mailbox/router.h"
#include "python/askfuture.h"
#include "python/box.h"
#include "python/state.h"
#include "sys/fuse.h"
#include "sys/link.h"
#include "sys/poller.h"
#include "sys/recorder.h"
#include "sys/segpool.h"

/* What the poller calls descriptors that are no links: more than a node. */
#define PN_WATCH_TIMER ((void *)(UINTPTR_MAX))
#define PN_WATCH_BOX ((void *)(UINTPTR_MAX - 1))

/* One link of a mailbox. Owned by the mailbox; lies in `peers` until it is
 * lost or disconnected, then in `graveyard` until nobody reads it. */
typedef struct pn_peer {
    pn_link link;
    uint64_t number; /* of the node at its far end, as it is called here */
    uint64_t node;   /* the same, as the arbiter calls itself */
    struct pn_peer *next; /* in the list of dirty or of buried links */
    bool greeted;         /* its hello has come and was right */
    bool dirty;           /* stands in the list of links to flush */
    bool armed;           /* waits for room to write */
    bool muted;           /* what it says is not listened to now */
    bool unread;          /* whole messages may lie in its inbox */
    bool lost;
    bool awaited;  /* when it has room, something is to be done */
    bool told;     /* tells wait until less is in its outbox */
    uint8_t quiet; /* looks in a row at which nothing had passed */
    struct pn_neighbour *neighbour; /* of a direct link; else NULL */
    pn_segpool *pool;               /* segments that this end lends, or NULL */
    struct pn_segshelf *shelf;      /* those of the far end, or NULL */
    struct pn_peer *next_lender;    /* among those with a shelf */
    size_t loans;                   /* of the shelf, not given back */
} pn_peer;

/* Another node with which this one has, or had just now, a direct link. Owned
 * by the mailbox, in `neighbours`, from the arbiter's word to the farewell of
 * the other, or its end. */
typedef struct pn_neighbour {
    uint64_t node;
    pn_meeting meeting;
    pn_peer *peer;    /* this end of the link; NULL: closed */
    uint64_t asked;   /* the last ask when it was closed */
    int64_t look_due; /* when to see next whether it is idle */
} pn_neighbour;

/* What a deadline is for. */
enum { PN_DUE_ASK, PN_DUE_LINK };

/* Python callables that decide what the core does not; mailbox.c names them.
 * Each member is a strong reference. A cell is a _native.Cell. */
typedef struct {
    PyObject *dumps;      /* (value, list of buffers, to be filled) -> bytes */
    PyObject *loads;      /* (bytes, buffers=...) -> value */
    PyObject *dump_error; /* (exception) -> bytes */
    PyObject *load_error; /* (source, condition, bytes) -> exception */
    PyObject *start_task; /* (awaitable, context) -> Task */
    PyObject *defer; /* (request, command, first, args, kwargs) -> awaitable */
    PyObject *lend;  /* (cell, args, kwargs) -> (args, kwargs, release) */
    PyObject *drive; /* (source, iterator or awaitable) -> coroutine */
    PyObject *control;   /* (kind, source, id, bytes) -> None */
    PyObject *lost;      /* (number, status, text) -> None */
    PyObject *fatal;     /* (cell, exception) -> None; may raise it */
    PyObject *failed;    /* (cell, exception of a tell) -> None */
    PyObject *resolve;   /* (target) -> (number, name or None) */
    PyObject *explain;   /* (number, name) -> (condition, bytes) */
    PyObject *doom;      /* (source, target, id) -> None: see waiter.kill */
    PyObject *define;    /* (target number, serial since) -> serial */
    PyObject *introduce; /* (target, source) -> None */
    PyObject *proxy;     /* (number) -> ActorProxy */
    PyObject *actor;     /* (cell) -> its actor, made now */
    PyObject *progress;  /* (cell, source, id) -> Request.progress */
    PyObject *table;     /* dict: command name -> BaseCommand */
    PyObject *names;     /* dict: name or aid -> number */
} pn_port;

struct CellObject;
struct pn_segshelf;
struct pn_told;
struct RequestObject;

/* What it writes of itself into its process's flight recorder. */
typedef struct {
    PyObject *recorder; /* holds the page; NULL: nothing is written */
    pn_recorder_page *page;
    pn_recorder_loop *loop; /* NULL: the page had none left */
    int64_t seen_at;        /* the latest reading of the clock */
    bool turns;             /* nobody else counts the turns of its loop */
} pn_flight;

typedef struct MailboxObject {
    PyObject_HEAD pn_state *state; /* lives as long as the type does */
    uint64_t number;               /* of the node */
    unsigned long thread;
    struct CellObject *main; /* the node's own actor; strong */
    pn_map cells;            /* index -> strong CellObject: its other actors */
    uint64_t last_index;     /* of a cell; never used twice */
    pn_poller poller;
    pn_pending pending;
    pn_deadlines deadlines; /* of asks; key: their id */
    int timer;              /* a timerfd in the poller; -1 until needed */
    int64_t timer_due;      /* when it goes off; 0: not armed */
    pn_router router;
    pn_park park;         /* letters that may not be sent yet */
    bool look_at_park;    /* some of them may be sent now */
    struct pn_told *told; /* whose senders wait, in the order of coming */
    struct pn_told *last_told;
    pn_map peers;   /* number -> pn_peer */
    pn_map shipped; /* target -> 1 + serial of commands that it knows */
    pn_map running; /* pn_request_key -> struct RequestObject, borrowed */
    pn_recalled recalled; /* the same of asks that were cancelled unseen */
    struct CellObject
        *ready; /* to be resumed, those to be so first in front */
    struct CellObject *last_ready;
    pn_box *box;        /* messages from this process, this node included */
    pn_box *onward_box; /* in place of `onward`, in the same process */
    pn_map near;        /* node -> pn_box of this process, one ref each */
    pn_map neighbours;  /* node -> pn_neighbour */
    double link_idle;   /* seconds; 0: no direct links */
    uint64_t last_link; /* of those that this arbiter made */
    uint64_t relayed;   /* messages passed on */
    pn_peer *onward;    /* takes what is for unknown actors: the arbiter's */
    pn_peer *dirty;
    pn_peer *graveyard;
    pn_peer *lenders;         /* links with a shelf of segments */
    size_t loans;             /* of all of them, not given back */
    pn_segment_budget budget; /* of the segments that this node lends */
    double segment_idle;      /* seconds until an unused one is dropped */
    int64_t segments_seen;    /* when such were last looked for */
    pn_buffer spare;          /* receive buffer, lent to the link that reads */
    pn_link_limits limits;
    pn_askfutures woken;  /* whose callbacks are to be called */
    pn_fuse fuse;         /* burns while a command runs that asks for it */
    int fuse_signal;      /* tells where that is; 0: none may be lit */
    uint64_t fuse_number; /* of the one that burns, in the recorder, or 0 */
    bool fuse_lit;
    bool busy;    /* inside a dispatch */
    bool lingers; /* the next turn is to linger, too */
    bool lone;    /* what is sent leaves at once, though busy */
    bool turn;    /* end_turn is to be called */
    bool held;    /* nothing is handled until attach */
    int unbegun;  /* command tasks that have not begun; before 3.12 only */
    bool closed;
    char draining;      /* bool: takes nothing new of other nodes */
    int64_t turn_began; /* monotonic ns; 0: nothing sent in this turn */
    int64_t flushed_at; /* monotonic ns, of the last flush while busy */
    PyObject *loop;
    PyObject *of_loop; /* {"loop": loop}: keywords of an AskFuture */
    PyObject *call_soon;
    PyObject *spinner;    /* with which to linger, or NULL */
    PyObject *loop_ready; /* sized: what the loop has to call yet */
    PyObject *end_turn;   /* bound methods of this object */
    PyObject *context;    /* that of attach: commands run in copies of it */
    PyObject *slow;       /* set of commands that were slow */
    PyObject *on_dead_letter; /* NULL or None: nobody watches; else called
                               * (target, name, command, reason) */
    pn_map records;           /* address of a BaseCommand -> pn_record */
    pn_port port;
    pn_flight flight;
} MailboxObject;

/* A message as it is handled: by reference in one process, else its bytes.
 * All of it is borrowed, but who takes *holder over owns the payload's memory
 * and may write to it, unless it is a pickle alone. */
typedef struct {
    pn_envelope env;
    pn_extension ext;
    const uint8_t *payload;
    size_t size;
    pn_ref *holder;  /* of the payload; empty or NULL: it is only lent */
    PyObject *value; /* in place of a payload */
    PyObject *known; /* its BaseCommand, if the sender was that near */
} pn_mail;

/* Where a message goes: over a link, or into a box of this process. Neither:
 * there is no way. Borrowed. */
typedef struct {
    pn_peer *peer;
    pn_box *box;
} pn_way;

static inline bool
pn_way_exists(pn_way way)
{
    return way.peer != NULL || way.box != NULL;
}

/* --- links: mailbox_link.c --- */

/* See that there is a poller: made at the first need, so that a mailbox made
 * before a fork shares none. 0, or -1 with an exception. */
int pn_mailbox_open(MailboxObject *self);

/* The link that the poller calls so; NULL if it has gone. */
pn_peer *pn_mailbox_watched(MailboxObject *self, void *owner);

/* The way on which number is reached. */
pn_way pn_mailbox_way(MailboxObject *self, uint64_t number);

/* Whether a new ask or tell on this way should be refused. */
bool pn_mailbox_is_full(const MailboxObject *self, pn_way way);

/* Put a message on its way. The payload is consumed, whatever the result. 0,
 * or -1 with an exception. */
int pn_mailbox_put(MailboxObject *self, pn_way way, const pn_envelope *env,
                   pn_ref payload);

/* The same into a box, with a value that goes by reference, or a payload, and
 * a command that the sender knows, or NULL. */
int pn_mailbox_put_near(MailboxObject *self, pn_box *box,
                        const pn_envelope *env, pn_ref payload,
                        PyObject *value, PyObject *known);

/* Messages from this process wait here. */
bool pn_mailbox_has_near(const MailboxObject *self);

/* Something was put into the peer's outbox: the first of a turn leaves at
 * once, the rest when the turn ends. 0, or -1 with an exception. */
int pn_mailbox_schedule(MailboxObject *self, pn_peer *peer);

/* Send what the peer's outbox holds, as far as the kernel takes it. */
void pn_mailbox_flush_peer(MailboxObject *self, pn_peer *peer);

/* Send what waits too long already. */
void pn_mailbox_flush_stale(MailboxObject *self, int64_t now);

/* Send what waits, on all links. */
void pn_mailbox_flush_dirty(MailboxObject *self);

/* Have the poller watch the peer for what it says, unless that is not to be
 * read now, and for room to write. False: a direct link was lost by that. */
bool pn_mailbox_watch(MailboxObject *self, pn_peer *peer, bool writable);

/* Watch the peer and let it be found by its number. PN_OK or a status. */
int pn_mailbox_adopt(MailboxObject *self, pn_peer *peer);

/* Take the peer out of everything, and close its descriptor; it is freed once
 * nobody reads it. */
void pn_mailbox_bury(MailboxObject *self, pn_peer *peer);

/* Raise ValueError for limits that were given as negative numbers. */
int pn_mailbox_check_limits(const pn_link_limits *limits);

/* The link is gone or must go: bury it, and tell whom it concerns. */
void pn_mailbox_lose(MailboxObject *self, pn_peer *peer, int status);

/* Methods. */
PyObject *pn_mailbox_connect(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *pn_mailbox_disconnect(PyObject *op, PyObject *number);
PyObject *pn_mailbox_limit(PyObject *op, PyObject *args);
PyObject *pn_mailbox_know(PyObject *op, PyObject *args);
PyObject *pn_mailbox_link_pair(PyObject *module, PyObject *unused);
PyObject *pn_mailbox_enter(PyObject *op, PyObject *group);
PyObject *pn_mailbox_connect_near(PyObject *op, PyObject *args,
                                  PyObject *kwargs);

/* Close every link without a byte and free what the engine holds. */
void pn_mailbox_drop_links(MailboxObject *self);

/* Free the links that were buried; nobody may be reading. */
void pn_mailbox_free_graveyard(MailboxObject *self);

/* --- turns of the loop: mailbox_turn.c --- */

/* Have end_turn called before the loop can block. 0, or -1 with an
 * exception. */
int pn_mailbox_request_turn(MailboxObject *self);

/* Stop being called by the loop, if it still lives. 0, or -1 with an
 * exception. */
int pn_mailbox_detach(MailboxObject *self);

/* Methods. */
PyObject *pn_mailbox_attach(PyObject *op, PyObject *loop);
PyObject *pn_mailbox_on_ready(PyObject *op, PyObject *unused);
PyObject *pn_mailbox_end_turn(PyObject *op, PyObject *unused);
PyObject *pn_mailbox_flush(PyObject *op, PyObject *unused);
PyObject *pn_mailbox_wait(PyObject *op, PyObject *seconds);

/* Handle what lies in the peer's inbox or, if that is nothing, receive once.
 * PN_MORE: there is nothing at all. It may be lost afterwards, and an
 * exception be set, which is to end the program's loop. */
int pn_mailbox_read_once(MailboxObject *self, pn_peer *peer);

/* Handle what the links have now: None, or NULL with what is to end the
 * loop. */
PyObject *pn_mailbox_dispatch(MailboxObject *self);

/* --- receiving: mailbox_receive.c --- */

/* Handle one frame from peer. 0; 1 if the link was lost; a negative status if
 * it must be closed. Exceptions of Python are reported, never left. */
int pn_mailbox_receive(MailboxObject *self, pn_peer *peer, pn_part *part);

/* Handle a message from this process, which may be for another node. */
void pn_mailbox_receive_near(MailboxObject *self, pn_letter *letter);

/* A new str of a command or name in an envelope; what is no UTF-8 in it is
 * replaced. NULL with an exception. */
PyObject *pn_mailbox_text(const char *text, size_t size);

/* --- passing on: mailbox_relay.c --- */

/* Pass a frame of peer on to the node of its target. 0 or a negative status
 * if the link must be closed. */
int pn_mailbox_relay(MailboxObject *self, pn_peer *from, pn_part *part);

/* Pass on what came from this process, whose payload is taken. */
void pn_mailbox_relay_near(MailboxObject *self, pn_letter *letter);

/* The number of the actor that a message names, 0 if there is none; its asker
 * is told. */
uint64_t pn_mailbox_resolve_name(MailboxObject *self, const pn_envelope *env);

/* --- running commands: mailbox_run.c --- */

/* Run the command of an ask or tell for a cell of this mailbox, or let it
 * wait. */
void pn_mailbox_run(MailboxObject *self, const pn_mail *mail);

/* Run what has waited in the cell. */
void pn_mailbox_resume(struct CellObject *cell, const pn_mail *mail);

/* The command's name, without its mark. New reference or NULL. */
PyObject *pn_mailbox_command_name(const pn_envelope *env);

/* Report the exception that is set now through sys.unraisablehook. */
void pn_mailbox_report(MailboxObject *self);

/* --- answers: mailbox_reply.c --- */

/* Answer an ask with a result; or ask id of source with a failure of actor
 * `from` by its condition. */
void pn_mailbox_reply(struct RequestObject *request, PyObject *result);
void pn_mailbox_reply_error(MailboxObject *self, uint64_t from,
                            uint64_t source, uint64_t id,
                            const char *condition, PyObject *payload);

/* Why a message of so many bytes finds no room: it is over the limit, as
 * PN_ETOOBIG says, or there is no memory for it. */
typedef struct {
    const char *condition;
    char text[64];
} pn_refusal;

pn_refusal pn_mailbox_refusal(const MailboxObject *self, int err,
                              uint64_t size);

/* Answer ask id of asker: it, or its answer, has no room here. */
void pn_mailbox_say_refused(MailboxObject *self, uint64_t asker, uint64_t id,
                            const pn_refusal *refusal);

/* A command of cell has failed with error: the asker of ask id hears of it,
 * or the log if id is 0, or it ends the actor. May leave an exception set,
 * which is to end the program's loop. */
void pn_mailbox_failed(struct CellObject *cell, uint64_t source, uint64_t id,
                       PyObject *error);

/* Tell source that its ask to cell, a coroutine actor that ends, gets no
 * other answer: no link's end tells it. */
void pn_mailbox_tell_end(struct CellObject *cell, uint64_t source,
                         uint64_t id);

/* Tell source that its ask to an unknown or ended actor cannot be answered. */
void pn_mailbox_refuse(MailboxObject *self, uint64_t source,
                       const pn_envelope *env);

/* --- tells that reach nobody: mailbox_dead.c --- */

/* Cell could not deliver this tell. The reason is a condition; NULL: why there
 * is no way to its target. May run Python. */
void pn_mailbox_lose_tell(struct CellObject *cell, const pn_envelope *env,
                          const char *reason);

/* --- deadlines and cancelling: mailbox_cancel.c --- */

/* See to it that an ask fails when its time is over. 0, or -1 with an
 * exception. */
int pn_mailbox_set_deadline(MailboxObject *self, uint64_t id, int64_t due);

/* Have pn_mailbox_expire called at due, monotonic ns, for this key. 0, or -1
 * with an exception. */
int pn_mailbox_set_timer(MailboxObject *self, int64_t due, uint64_t key,
                         uint64_t what);

/* Do what is due: fail asks whose time is over, look at links. */
void pn_mailbox_expire(MailboxObject *self);

/* Ask id of source to target, an actor of this node, is not wanted any more:
 * what runs for it is cancelled. */
void pn_mailbox_recall(MailboxObject *self, uint64_t target, uint64_t source,
                       uint64_t id);

/* Whether an ask that comes now was cancelled before; tells it once. */
bool pn_mailbox_was_recalled(MailboxObject *self, uint64_t source,
                             uint64_t id);

/* Send word that ask id of source, an actor of this node, to target is not
 * wanted any more. */
void pn_mailbox_send_cancel(MailboxObject *self, uint64_t target,
                            uint64_t source, uint64_t id);

/* Nobody waits for this ask any more: its target hears so. Nothing happens on
 * another thread. */
void pn_mailbox_cancel_ask(MailboxObject *self, uint64_t id);

/* --- sending: mailbox_send.c --- */

/* Raise RuntimeError unless on the mailbox's own thread and open. */
int pn_mailbox_check(MailboxObject *self);

/* Raise RuntimeError, for a mailbox that is closed, collected or not made yet.
 */
PyObject *pn_mailbox_unusable(void);

/* Fill in a hello of ours. */
void pn_mailbox_hello(pn_hello *out);

/* A future of the mailbox's loop that pn_mailbox_resolve resolves. New
 * reference or NULL. */
PyObject *pn_mailbox_new_future(MailboxObject *self);

/* Resolve a future that waited here: pn_future_resolve, whose failure is
 * reported. */
void pn_mailbox_resolve(MailboxObject *self, PyObject *future, bool failed,
                        PyObject *value);

/* Point to the UTF-8 of a str, which must live on; what names it in the
 * ValueError for one over PN_TEXT_LIMIT. 0, or -1 with an exception. */
int pn_mailbox_set_text(const char **text, uint16_t *size, PyObject *value,
                        const char *what);

/* Node target knows the commands up to this serial. 0, or -1 with an
 * exception. */
int pn_mailbox_shipped(MailboxObject *self, uint64_t target,
                       unsigned long long serial);

/* What a cell sends: args are (target, command, args, kwargs). */
PyObject *pn_cell_put(struct CellObject *cell, PyObject *const *args,
                      Py_ssize_t nargs, bool tell);

/* Methods. */
PyObject *pn_mailbox_send(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs);
PyObject *pn_mailbox_tell(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs);

/* --- other kinds, and failing: mailbox_post.c --- */

/* The exception for an ask that failed at source by this condition; NULL with
 * an exception if port.load_error raised. */
PyObject *pn_mailbox_load_error(MailboxObject *self, uint64_t source,
                                const char *condition, const char *bytes,
                                Py_ssize_t size);

/* What port.explain says of an actor to which there is no way; name is a str.
 * New reference or NULL. */
PyObject *pn_mailbox_explain(MailboxObject *self, uint64_t target,
                             PyObject *name);

/* Raise what port.load_error makes of a condition that an ask to target met at
 * home. */
void pn_mailbox_raise(MailboxObject *self, uint64_t target,
                      const char *condition, const char *bytes,
                      Py_ssize_t size);

/* Raise why there is no way to target; name is a str or NULL. */
void pn_mailbox_raise_unreachable(MailboxObject *self, uint64_t target,
                                  PyObject *name);

PyObject *pn_mailbox_post(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *pn_mailbox_fail(PyObject *op, PyObject *args);

#endif
