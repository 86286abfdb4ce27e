/* Messages that wait in a cell for others to end, and what becomes of them. */
#include "base/alloc.h"
#include "base/status.h"
#include "python/mailbox_park.h"
#include "python/mailbox_payload.h"
#include "python/request.h"
#include "sys/clock.h"

/* What has waited is begun for so long, then others get a turn. */
#define RESUME_NS 2000000

/* --- cells that are to be resumed --- */

static void
add_ready(CellObject *cell)
{
    MailboxObject *mailbox = cell->mailbox;
    if (cell->ready)
        return;
    cell->ready = true;
    Py_INCREF(cell);
    if (mailbox->last_ready != NULL)
        mailbox->last_ready->next_ready = cell;
    else
        mailbox->ready = cell;
    mailbox->last_ready = cell;
}

/* The first, which passes to the caller, or NULL. */
static CellObject *
take_ready(MailboxObject *self)
{
    CellObject *cell = self->ready;
    if (cell == NULL)
        return NULL;
    self->ready = cell->next_ready;
    if (self->ready == NULL)
        self->last_ready = NULL;
    cell->next_ready = NULL;
    cell->ready = false;
    return cell;
}

void
pn_mailbox_drop_ready(MailboxObject *self)
{
    CellObject *cell;
    while ((cell = take_ready(self)) != NULL)
        Py_DECREF(cell);
}

/* --- who sends, and may not --- */

static bool
is_over(const CellObject *self)
{
    const pn_cell_limits *limits = self->limits;
    return pn_cell_waiting(self) >= limits->messages ||
           pn_cell_waiting_bytes(self) >= limits->bytes;
}

static bool
is_relaxed(const CellObject *self)
{
    const pn_cell_limits *limits = self->limits;
    return pn_cell_waiting(self) <= limits->messages / 2 &&
           pn_cell_waiting_bytes(self) <= limits->bytes / 2;
}

/* Tell a node that sends to stop, unless it was told. */
static void
tell_stop(CellObject *self, uint64_t node)
{
    pn_map *told = &self->backlog->told;
    if (pn_map_get(told, node) == NULL &&
        pn_mailbox_send_credit(self->mailbox, node, self->number, PN_STOPPED,
                               self->limits->max_inflight) &&
        pn_map_put(told, node, self) < 0) /* or it would never be told to go */
        (void)pn_mailbox_send_credit(self->mailbox, node, self->number,
                                     PN_MAY_GO, 0);
}

/* A message of source has come, though there is no room. */
static void
stop_senders(CellObject *self, uint64_t source)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    if (self->backlog->told.count == 0) {
        while ((entry = pn_map_next(&self->backlog->queue.sources, &cursor)) !=
               NULL)
            tell_stop(self, pn_node_of(entry->key));
    }
    tell_stop(self, pn_node_of(source));
}

/* Something has left: there may be room again. */
static void
relax(CellObject *self)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    if (self->backlog->told.count == 0 || !is_relaxed(self))
        return;
    pn_map told = self->backlog->told;
    self->backlog->told = (pn_map){0};
    while ((entry = pn_map_next(&told, &cursor)) != NULL)
        (void)pn_mailbox_send_credit(self->mailbox, entry->key, self->number,
                                     PN_MAY_GO, 0);
    pn_map_free(&told);
}

/* --- waiting --- */

/* The next letter, which passes to the caller; there is one. */
static pn_letter *
take_letter(CellObject *self)
{
    pn_letter *letter =
        pn_letter_of_entry(pn_waiting_take(&self->backlog->queue));
    relax(self);
    return letter;
}

static pn_letter *
new_letter(const pn_mail *mail)
{
    pn_ref payload;
    if (pn_mail_keep(mail, &payload) < 0)
        return NULL;
    pn_letter *letter =
        pn_letter_new(&mail->env, &payload, mail->value, mail->known);
    if (letter == NULL) {
        pn_ref_release(&payload);
        return NULL;
    }
    letter->entry = (pn_waiting_entry){
        .source = mail->env.source,
        .id = mail->env.kind == PN_ASK ? mail->env.id : 0,
        .came = pn_clock_now(),
        .bytes = letter->weight,
    };
    return letter;
}

/* 0, or -1 with an exception. */
static int
put(CellObject *self, const pn_mail *mail)
{
    pn_letter *letter = NULL;
    if (self->backlog == NULL)
        self->backlog = pn_alloc_zeroed(1, sizeof *self->backlog);
    if (self->backlog != NULL)
        letter = new_letter(mail);
    if (letter != NULL &&
        pn_waiting_put(&self->backlog->queue, &letter->entry) == PN_OK)
        return 0;
    if (letter != NULL)
        pn_letter_free(letter);
    PyErr_NoMemory();
    return -1;
}

/* There is no room for a message: its asker hears so. */
static void
refuse_full(CellObject *self, const pn_envelope *env)
{
    if (env->kind == PN_TELL)
        pn_mailbox_lose_tell(self, env, "mailbox-full");
    else
        pn_mailbox_reply_error(self->mailbox, self->number, env->source,
                               env->id, "mailbox-full", NULL);
}

static bool
holds_too_much(const CellObject *self)
{
    const pn_cell_limits *limits = self->limits;
    size_t waiting = pn_cell_waiting(self);
    return waiting > limits->messages ||
           (waiting > 1 && pn_cell_waiting_bytes(self) > limits->bytes);
}

/* Those that have waited longest make room. */
static void
drop_oldest(CellObject *self)
{
    while (holds_too_much(self)) { /* the actor may end meanwhile */
        pn_letter *letter =
            pn_letter_of_entry(pn_waiting_take_oldest(&self->backlog->queue));
        refuse_full(self, &letter->env);
        pn_letter_free(letter);
    }
}

int
pn_cell_hold(CellObject *self, const pn_mail *mail)
{
    pn_policy policy = self->limits->policy;
    if (policy == PN_POLICY_FAIL && is_over(self)) {
        refuse_full(self, &mail->env);
        return 0;
    }
    if (put(self, mail) < 0)
        return -1;
    if (policy == PN_POLICY_DROP)
        drop_oldest(self);
    else if (policy == PN_POLICY_WAIT && is_over(self))
        stop_senders(self, mail->env.source);
    return 0;
}

bool
pn_cell_drop_ask(CellObject *self, uint64_t source, uint64_t id)
{
    if (self->backlog == NULL)
        return false;
    pn_waiting_entry *entry =
        pn_waiting_take_ask(&self->backlog->queue, source, id);
    if (entry == NULL)
        return false;
    relax(self);
    pn_letter_free(pn_letter_of_entry(entry));
    return true;
}

/* --- beginning --- */

static bool
may_begin(const CellObject *self)
{
    return pn_cell_waiting(self) > 0 && !self->gone && !pn_cell_is_busy(self);
}

/* Begin the message whose turn it is. */
static void
resume_one(CellObject *self)
{
    pn_letter *letter = take_letter(self);
    pn_mail mail = {
        .env = letter->env,
        .payload = letter->payload.data,
        .size = letter->payload.size,
        .holder = &letter->payload,
        .value = letter->value,
        .known = letter->known,
    };
    if (pn_extension_decode(&mail.ext, mail.env.extension,
                            mail.env.extension_size) == PN_OK)
        pn_mailbox_resume(self, &mail);
    pn_letter_free(letter);
}

int
pn_cell_make_ready(CellObject *self)
{
    if (!may_begin(self) || self->mailbox->closed)
        return 0;
    add_ready(self);
    return PyErr_Occurred() ? 0 : pn_mailbox_request_turn(self->mailbox);
}

void
pn_cell_advance(CellObject *self)
{
    if (!may_begin(self) || self->ready)
        return;
    int64_t deadline = pn_clock_now() + RESUME_NS;
    do {
        resume_one(self);
    } while (may_begin(self) && !PyErr_Occurred() &&
             pn_clock_now() < deadline);
    if (pn_cell_make_ready(self) < 0)
        pn_mailbox_report(self->mailbox);
}

void
pn_mailbox_run_ready(MailboxObject *self, int64_t deadline)
{
    CellObject *cell;
    while (!self->held && !PyErr_Occurred() &&
           (cell = take_ready(self)) != NULL) {
        if (may_begin(cell))
            resume_one(cell);
        if (may_begin(cell) && !self->closed)
            add_ready(cell);
        Py_DECREF(cell);
        if (pn_clock_now() > deadline)
            break;
    }
}

/* --- the end --- */

static void
free_backlog(pn_backlog *backlog)
{
    if (backlog == NULL)
        return;
    pn_waiting_free(&backlog->queue);
    pn_map_free(&backlog->told);
    pn_free(backlog);
}

void
pn_cell_drop_waiting(CellObject *self)
{
    pn_backlog *backlog = self->backlog;
    self->backlog = NULL;
    pn_waiting_entry *entry;
    while (backlog != NULL &&
           (entry = pn_waiting_take(&backlog->queue)) != NULL)
        pn_letter_free(pn_letter_of_entry(entry));
    free_backlog(backlog);
}

/* Whoever waits for an answer of what runs here hears that it has ended. */
static void
refuse_running(CellObject *self)
{
    MailboxObject *mailbox = self->mailbox;
    size_t cursor = 0;
    const pn_map_entry *entry;
    RequestObject *list = NULL;
    while ((entry = pn_map_next(&mailbox->running, &cursor)) != NULL) {
        for (RequestObject *at = entry->value; at != NULL; at = at->next) {
            if (at->cell != self || at->cancelled)
                continue;
            at->cancelled = true;
            at->ended = list;
            list = (RequestObject *)Py_NewRef((PyObject *)at);
        }
    }
    while (list != NULL) {
        RequestObject *at = list;
        list = at->ended;
        at->ended = NULL;
        pn_envelope env = {
            .kind = PN_ASK, .target = self->number, .id = at->id};
        pn_mailbox_refuse(mailbox, at->source, &env);
        Py_DECREF(at);
    }
}

void
pn_cell_end(CellObject *self)
{
    self->gone = true;
    refuse_running(self);
    while (pn_cell_waiting(self) > 0) {
        pn_letter *letter = take_letter(self); /* which lets others send */
        pn_mailbox_refuse(self->mailbox, letter->env.source, &letter->env);
        pn_letter_free(letter);
    }
    pn_cell_drop_waiting(self);
}
