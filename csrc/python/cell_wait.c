/* Messages that wait in a cell for others to end, and what becomes of them. */
#include "base/alloc.h"
#include "base/status.h"
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

/* --- waiting --- */

int
pn_cell_hold(CellObject *self, const pn_mail *mail)
{
    if (self->waiting == NULL)
        self->waiting = pn_alloc_zeroed(1, sizeof *self->waiting);
    if (self->waiting == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    pn_ref payload;
    if (pn_mail_keep(mail, &payload) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    pn_letter *letter =
        pn_letter_new(&mail->env, &payload, mail->value, mail->known);
    if (letter != NULL) {
        letter->entry = (pn_waiting_entry){
            .source = mail->env.source,
            .id = mail->env.kind == PN_ASK ? mail->env.id : 0,
            .came = pn_clock_now(),
            .bytes = letter->payload.size,
        };
        if (pn_waiting_put(self->waiting, &letter->entry) == PN_OK)
            return 0;
        pn_letter_free(letter);
    }
    pn_ref_release(&payload);
    PyErr_NoMemory();
    return -1;
}

static bool
may_begin(const CellObject *self)
{
    return self->waiting != NULL && self->waiting->count > 0 && !self->gone &&
           !pn_cell_is_busy(self);
}

/* Begin the message whose turn it is. */
static void
resume_one(CellObject *self)
{
    pn_letter *letter = pn_letter_of_entry(pn_waiting_take(self->waiting));
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

void
pn_cell_drop_waiting(CellObject *self)
{
    pn_waiting *waiting = self->waiting;
    self->waiting = NULL;
    if (waiting == NULL)
        return;
    pn_waiting_entry *entry;
    while ((entry = pn_waiting_take(waiting)) != NULL)
        pn_letter_free(pn_letter_of_entry(entry));
    pn_waiting_free(waiting);
    pn_free(waiting);
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
    pn_waiting *waiting = self->waiting;
    self->waiting = NULL;
    pn_waiting_entry *entry;
    while (waiting != NULL && (entry = pn_waiting_take(waiting)) != NULL) {
        pn_letter *letter = pn_letter_of_entry(entry);
        pn_mailbox_refuse(self->mailbox, letter->env.source, &letter->env);
        pn_letter_free(letter);
    }
    if (waiting != NULL)
        pn_waiting_free(waiting);
    pn_free(waiting);
}
