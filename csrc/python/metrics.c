#include "python/metrics.h"

#include "python/command.h"
#include "python/mailbox_direct.h"

/* A command that took this long is slow: what was answered before it leaves
 * before it runs again. */
#define SLOW_NS 500000

/* --- keeping --- */

static pn_record *
record_of(MailboxObject *self, PyObject *command)
{
    uint64_t key = (uint64_t)(uintptr_t)command;
    pn_record *record = pn_map_get(&self->records, key);
    if (record != NULL || self->records.count >= PN_METRICS_LIMIT)
        return record;
    record = PyMem_Calloc(1, sizeof *record);
    if (record == NULL || pn_map_put(&self->records, key, record) != 0) {
        PyMem_Free(record);
        return NULL;
    }
    record->command = Py_NewRef(command);
    return record;
}

void
pn_metrics_begin(RequestObject *request, PyObject *command, int64_t now)
{
    request->record = record_of(request->cell->mailbox, command);
    request->began = now;
}

void
pn_metrics_end(RequestObject *request, int64_t now, bool failed)
{
    pn_record *record = request->record;
    if (record == NULL)
        return;
    request->record = NULL;
    record->failed += failed;
    pn_histogram_note(&record->took, now - request->began);
}

int
pn_metrics_traverse(MailboxObject *self, visitproc visit, void *arg)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->records, &cursor)) != NULL)
        Py_VISIT(((pn_record *)entry->value)->command);
    return 0;
}

void
pn_metrics_clear(MailboxObject *self)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->records, &cursor)) != NULL)
        Py_CLEAR(((pn_record *)entry->value)->command);
}

void
pn_metrics_free(MailboxObject *self)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->records, &cursor)) != NULL)
        PyMem_Free(entry->value);
    pn_map_free(&self->records);
}

void
pn_mailbox_note_duration(MailboxObject *self, PyObject *command,
                         int64_t duration)
{
    int err = 0;
    if (duration > SLOW_NS)
        err = PySet_Add(self->slow, command);
    else if (PySet_Size(self->slow) > 0)
        err = PySet_Discard(self->slow, command);
    if (err < 0)
        PyErr_Clear();
}

/* --- telling --- */

static PyObject *
buckets_of(const pn_histogram *took)
{
    PyObject *list = PyList_New(PN_HISTOGRAM_BUCKETS);
    for (size_t i = 0; list != NULL && i < PN_HISTOGRAM_BUCKETS; i++) {
        PyObject *count = PyLong_FromUnsignedLongLong(took->counts[i]);
        if (count == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, count);
    }
    return list;
}

/* (name, failed, seconds, list of counts) */
static PyObject *
describe_record(const pn_record *record)
{
    PyObject *name = ((BaseCommandObject *)record->command)->name;
    PyObject *buckets = buckets_of(&record->took);
    if (buckets == NULL)
        return NULL;
    return Py_BuildValue("(OKdN)", name == NULL ? Py_None : name,
                         (unsigned long long)record->failed,
                         (double)record->took.nanoseconds / 1e9, buckets);
}

PyObject *
pn_mailbox_commands(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    PyObject *list = PyList_New(0);
    size_t cursor = 0;
    const pn_map_entry *entry;
    while (list != NULL &&
           (entry = pn_map_next(&self->records, &cursor)) != NULL) {
        const pn_record *record = entry->value;
        if (record->command == NULL)
            continue;
        PyObject *found = describe_record(record);
        if (found == NULL || PyList_Append(list, found) < 0)
            Py_CLEAR(list);
        Py_XDECREF(found);
    }
    return list;
}

PyObject *
pn_mailbox_stats(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    size_t messages = 0, bytes = 0, cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL) {
        const pn_peer *peer = entry->value;
        messages += peer->link.out.messages;
        bytes += peer->link.out.bytes;
    }
    if (self->main == NULL)
        return pn_mailbox_unusable();
    return Py_BuildValue(
        "{s:n,s:n,s:n,s:n,s:n,s:n,s:K,s:K,s:n,s:K,s:n,s:n}", "links",
        (Py_ssize_t)self->peers.count + (self->closed ? 0 : 1), "pending",
        (Py_ssize_t)pn_pending_count(&self->pending), "queued_messages",
        (Py_ssize_t)messages, "queued_bytes", (Py_ssize_t)bytes, "parked",
        (Py_ssize_t)self->park.count, "parked_bytes",
        (Py_ssize_t)self->park.bytes, "handled",
        (unsigned long long)self->main->handled, "dead_letters",
        (unsigned long long)self->main->dead_letters, "direct",
        (Py_ssize_t)pn_direct_count(self), "relayed",
        (unsigned long long)self->relayed, "segments",
        (Py_ssize_t)self->budget.count, "loans", (Py_ssize_t)self->loans);
}
