/* The actors of a node beside its own. */
#include "python/cell.h"
#include "sys/clock.h"

#define INDEX_LIMIT ((uint64_t)1 << (64 - PN_NODE_BITS))

PyObject *
pn_mailbox_add_cell(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    if (pn_mailbox_check(self) < 0)
        return NULL;
    uint64_t index = self->last_index + 1;
    if (index == INDEX_LIMIT) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this loop has had 2**28 coroutine actors: no more");
        return NULL;
    }
    uint64_t number = index << PN_NODE_BITS | self->number;
    CellObject *cell = pn_cell_new(self, number, NULL);
    if (cell == NULL)
        return NULL;
    if (pn_map_put(&self->cells, number, cell) < 0) {
        Py_DECREF(cell);
        return PyErr_NoMemory();
    }
    self->last_index = index;
    cell->born = pn_clock_now();
    return Py_NewRef((PyObject *)cell);
}

PyObject *
pn_mailbox_remove_cell(PyObject *op, PyObject *number)
{
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred() || pn_mailbox_check(self) < 0)
        return NULL;
    CellObject *cell = pn_map_take(&self->cells, value);
    if (cell != NULL)
        pn_cell_end(cell);
    Py_XDECREF(cell);
    Py_RETURN_NONE;
}

bool
pn_mailbox_lacks(MailboxObject *self, uint64_t number)
{
    return number != self->number && pn_node_of(number) == self->number &&
           pn_map_get(&self->cells, number) == NULL;
}

PyObject *
pn_mailbox_list_cells(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    PyObject *list = PyList_New(0);
    size_t cursor = 0;
    const pn_map_entry *entry;
    while (list != NULL &&
           (entry = pn_map_next(&self->cells, &cursor)) != NULL) {
        if (PyList_Append(list, entry->value) < 0)
            Py_CLEAR(list);
    }
    return list;
}

int64_t
pn_cell_oldest(const CellObject *cell)
{
    if (pn_cell_waiting(cell) == 0)
        return 0;
    return pn_clock_now() - pn_waiting_oldest(&cell->backlog->queue)->came;
}

/* Whether it has stalled since this was asked last. */
static bool
has_stalled(CellObject *cell)
{
    bool before = cell->stalled;
    int64_t slow = cell->limits->slow;
    cell->stalled = slow > 0 && pn_cell_oldest(cell) > slow;
    return cell->stalled && !before;
}

PyObject *
pn_mailbox_list_stalled(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    PyObject *list = PyList_New(0);
    size_t cursor = 0;
    const pn_map_entry *entry;
    if (list != NULL && self->main != NULL && has_stalled(self->main) &&
        PyList_Append(list, (PyObject *)self->main) < 0)
        Py_CLEAR(list);
    while (list != NULL &&
           (entry = pn_map_next(&self->cells, &cursor)) != NULL) {
        if (has_stalled(entry->value) && PyList_Append(list, entry->value) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static bool
has_work(const CellObject *cell)
{
    return cell->inflight != 0 || pn_cell_waiting(cell) != 0;
}

PyObject *
pn_mailbox_is_busy(PyObject *op, PyObject *unused)
{
    (void)unused;
    const MailboxObject *self = (const MailboxObject *)op;
    bool busy = self->main != NULL && has_work(self->main);
    size_t cursor = 0;
    const pn_map_entry *entry;
    while (!busy && (entry = pn_map_next(&self->cells, &cursor)) != NULL)
        busy = has_work(entry->value);
    return PyBool_FromLong(busy);
}

PyObject *
pn_mailbox_get_cell(PyObject *op, PyObject *number)
{
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    CellObject *cell = pn_mailbox_cell((MailboxObject *)op, value);
    return Py_NewRef(cell == NULL ? Py_None : (PyObject *)cell);
}

void
pn_mailbox_drop_cells(MailboxObject *self)
{
    pn_map cells = self->cells;
    self->cells = (pn_map){0};
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&cells, &cursor)) != NULL)
        Py_DECREF((PyObject *)entry->value);
    pn_map_free(&cells);
    Py_CLEAR(self->main);
}
