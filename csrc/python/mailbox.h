/* The type Mailbox: an actor's end of messaging, over the engine's links,
 * pending table and router. This header is for the files of the type:
 * mailbox.c (life), mailbox_link.c (links), mailbox_turn.c, mailbox_send.c
 * (asks and tells), mailbox_post.c (other kinds), mailbox_receive.c (where a
 * message goes), mailbox_run.c (commands); and for request.h and replier.h,
 * whose objects belong to one. Others include mailbox_type.h.
 *
 * Everything here runs on the thread of the mailbox's loop, with the GIL.
 * A call into Python may re-enter any method: so links are buried while
 * `busy`, and freed once it is over. */
#ifndef PN_PYTHON_MAILBOX_H
#define PN_PYTHON_MAILBOX_H

#include "mailbox/hello.h"
#include "mailbox/pending.h"
#include "mailbox/router.h"
#include "python/state.h"
#include "sys/link.h"
#include "sys/poller.h"

/* One link of a mailbox. Owned by the mailbox; lies in `peers` until it is
 * lost or disconnected, then in `graveyard` until nobody reads it. */
typedef struct pn_peer {
    pn_link link;
    uint64_t number;      /* of the actor at its far end */
    struct pn_peer *next; /* in the list of dirty or of buried links */
    bool local;           /* the mailbox itself: no descriptor */
    bool greeted;         /* its hello has come and was right */
    bool dirty;           /* stands in the list of links to flush */
    bool armed;           /* waits for room to write */
    bool unread;          /* whole messages may lie in its inbox */
    bool lost;
} pn_peer;

/* Python callables that decide what the core does not; mailbox.c names them.
 * Each member is a strong reference. */
typedef struct {
    PyObject *dumps;      /* (value) -> bytes */
    PyObject *loads;      /* (bytes) -> value */
    PyObject *dump_error; /* (exception) -> bytes */
    PyObject *load_error; /* (source, condition, bytes) -> exception */
    PyObject *start_task; /* (awaitable, context) -> Task */
    PyObject *defer;      /* (function, request, args, kwargs) -> awaitable */
    PyObject *control;    /* (kind, source, id, bytes) -> None */
    PyObject *lost;       /* (number, status, text) -> None */
    PyObject *fatal;      /* (exception) -> None; may raise it */
    PyObject *failed;     /* (exception of a tell) -> None */
    PyObject *resolve;    /* (target) -> (number, name or None) */
    PyObject *explain;    /* (number, name) -> (condition, bytes) */
    PyObject *define;     /* (target number, serial since) -> serial */
    PyObject *introduce;  /* (target, source) -> None */
    PyObject *proxy;      /* (number) -> ActorProxy */
    PyObject *table;      /* dict: command name -> BaseCommand */
    PyObject *names;      /* dict: name or aid -> number */
} pn_port;

typedef struct {
    PyObject_HEAD pn_state *state; /* lives as long as the type does */
    uint64_t number;               /* of the actor whose mailbox this is */
    unsigned long thread;
    pn_poller poller;
    pn_pending pending;
    pn_router router;
    pn_map peers;    /* number -> pn_peer, `self` included */
    pn_map shipped;  /* target -> 1 + serial of commands that it knows */
    pn_peer *self;   /* messages to this very actor */
    pn_peer *onward; /* takes what is for unknown actors: the arbiter's */
    pn_peer *dirty;
    pn_peer *graveyard;
    pn_buffer spare; /* receive buffer, lent to the link that reads */
    pn_link_limits limits;
    bool busy;   /* inside a dispatch */
    bool turn;   /* end_turn is to be called */
    bool held;   /* nothing is handled until attach */
    char ending; /* bool, for PyMemberDef: its actor cancels its commands */
    int unbegun; /* command tasks that have not begun; before 3.12 only */
    bool closed;
    uint64_t handled;      /* commands run, for statistics */
    uint64_t dead_letters; /* tells that reached nobody */
    int64_t turn_began;    /* monotonic ns; 0: nothing sent in this turn */
    int64_t flushed_at;    /* monotonic ns, of the last flush while busy */
    PyObject *actor;
    PyObject *loop;
    PyObject *create_future;
    PyObject *call_soon;
    PyObject *end_turn; /* bound methods of this object */
    PyObject *context;  /* that of attach: commands run in copies of it */
    PyObject *tasks;    /* set of running command tasks */
    PyObject *slow;     /* set of commands that were slow */
    pn_port port;
} MailboxObject;

/* --- links: mailbox_link.c --- */

/* See that there is a poller: made at the first need, so that a mailbox made
 * before a fork shares none. 0, or -1 with an exception. */
int pn_mailbox_open(MailboxObject *self);

/* The link that the poller calls so; NULL if it has gone. */
pn_peer *pn_mailbox_watched(MailboxObject *self, void *owner);

/* The link over which number is reached; NULL if there is none. */
pn_peer *pn_mailbox_way(MailboxObject *self, uint64_t number);

/* Put a message on the peer's way. The payload is consumed, whatever the
 * result. 0, or -1 with an exception. */
int pn_mailbox_put(MailboxObject *self, pn_peer *peer, const pn_envelope *env,
                   pn_ref payload);

/* Something was put into the peer's outbox: the first of a turn leaves at
 * once, the rest when the turn ends. 0, or -1 with an exception. */
int pn_mailbox_schedule(MailboxObject *self, pn_peer *peer);

/* Send what the peer's outbox holds, as far as the kernel takes it. */
void pn_mailbox_flush_peer(MailboxObject *self, pn_peer *peer);

/* Send what waits, on all links. */
void pn_mailbox_flush_dirty(MailboxObject *self);

/* Raise ValueError for limits that were given as negative numbers. */
int pn_mailbox_check_limits(const pn_link_limits *limits);

/* The link is gone or must go: tell Python, bury it. */
void pn_mailbox_lose(MailboxObject *self, pn_peer *peer, int status);

/* Methods. */
PyObject *pn_mailbox_connect(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *pn_mailbox_disconnect(PyObject *op, PyObject *number);
PyObject *pn_mailbox_limit(PyObject *op, PyObject *args);
PyObject *pn_mailbox_link_pair(PyObject *module, PyObject *unused);

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

/* --- receiving: mailbox_receive.c --- */

/* Handle one frame from peer. 0; 1 if the link was lost; a negative status if
 * it must be closed. Exceptions of Python are reported, never left. */
int pn_mailbox_receive(MailboxObject *self, pn_peer *peer, pn_part *part);

/* A new str of a command or name in an envelope; what is no UTF-8 in it is
 * replaced. NULL with an exception. */
PyObject *pn_mailbox_text(const char *text, size_t size);

/* --- running commands: mailbox_run.c --- */

/* Run the command of an ask or tell for this actor. */
void pn_mailbox_run(MailboxObject *self, const pn_message *message);

/* Answer ask id of source: a result, or a failure with its condition. */
void pn_mailbox_reply(MailboxObject *self, uint64_t source, uint64_t id,
                      PyObject *result);
void pn_mailbox_reply_error(MailboxObject *self, uint64_t source, uint64_t id,
                            const char *condition, PyObject *payload);

/* A command has failed with error: the asker of ask id hears of it, or the
 * log if id is 0, or it ends the actor. May leave an exception set, which is
 * to end the program's loop. */
void pn_mailbox_failed(MailboxObject *self, uint64_t source, uint64_t id,
                       PyObject *error);

/* Report the exception that is set now through sys.unraisablehook. */
void pn_mailbox_report(MailboxObject *self);

/* Tell source that its ask to an unknown or ended actor cannot be answered. */
void pn_mailbox_refuse(MailboxObject *self, uint64_t source,
                       const pn_envelope *env);

/* --- sending: mailbox_send.c --- */

/* Raise RuntimeError unless on the mailbox's own thread and open. */
int pn_mailbox_check(MailboxObject *self);

/* Fill in a hello of ours. */
void pn_mailbox_hello(pn_hello *out);

/* Resolve a future that waited here: pn_future_resolve, whose failure is
 * reported. */
void pn_mailbox_resolve(MailboxObject *self, PyObject *future, bool failed,
                        PyObject *value);

/* The exception for an ask that failed at source by this condition; NULL with
 * an exception if port.load_error raised. */
PyObject *pn_mailbox_load_error(MailboxObject *self, uint64_t source,
                                const char *condition, const char *bytes,
                                Py_ssize_t size);

/* What port.explain says of an actor to which there is no way; name is a str.
 * New reference or NULL. */
PyObject *pn_mailbox_explain(MailboxObject *self, uint64_t target,
                             PyObject *name);

/* Point to the UTF-8 of a str, which must live on; what names it in the
 * ValueError for one over PN_TEXT_LIMIT. 0, or -1 with an exception. */
int pn_mailbox_set_text(const char **text, uint16_t *size, PyObject *value,
                        const char *what);

/* Actor target knows the commands up to this serial. 0, or -1 with an
 * exception. */
int pn_mailbox_shipped(MailboxObject *self, uint64_t target,
                       unsigned long long serial);

/* Methods; the last one is a function of the module. */
PyObject *pn_mailbox_send(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs);
PyObject *pn_mailbox_tell(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs);
PyObject *pn_current_mailbox(PyObject *module, PyObject *unused);

/* --- other kinds, and failing: mailbox_post.c --- */

PyObject *pn_mailbox_post(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *pn_mailbox_fail(PyObject *op, PyObject *args);

#endif
