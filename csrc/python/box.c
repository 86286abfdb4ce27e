#include "python/box.h"

#include "base/alloc.h"
#include "base/status.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

pn_box *
pn_box_new(uint64_t node)
{
    pn_box *box = pn_alloc_zeroed(1, sizeof *box);
    if (box == NULL)
        return NULL;
    pn_queue_init(&box->control);
    pn_queue_init(&box->payload);
    box->references = 1;
    box->node = node;
    box->thread = PyThread_get_thread_ident();
    box->wake_fd = -1;
    return box;
}

static void
wake(const pn_box *box)
{
    uint64_t one = 1;
    /* EAGAIN: it has been woken four billion times over. */
    if (box->wake_fd >= 0 && write(box->wake_fd, &one, sizeof one) < 0)
        return;
}

int
pn_box_open(pn_box *box)
{
    if (box->wake_fd < 0)
        box->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return box->wake_fd < 0 ? -errno : PN_OK;
}

/* Tell all who watch the box, once. */
static void
nudge_watchers(pn_box *box)
{
    size_t cursor = 0;
    const pn_map_entry *entry;
    pn_map watchers = box->watchers;
    box->watchers = (pn_map){0};
    while ((entry = pn_map_next(&watchers, &cursor)) != NULL) {
        pn_box *watcher = entry->value;
        watcher->nudged = true;
        if (watcher != box)
            wake(watcher);
        pn_box_drop(watcher);
    }
    pn_map_free(&watchers);
}

bool
pn_box_tell_below(pn_box *box, pn_box *watcher, size_t messages, size_t bytes)
{
    box->watch_messages = messages;
    box->watch_bytes = bytes;
    if (pn_map_get(&box->watchers, watcher->node) != NULL)
        return true;
    if (pn_map_put(&box->watchers, watcher->node, watcher) < 0)
        return false;
    (void)pn_box_keep(watcher);
    return true;
}

void
pn_box_unopen(pn_box *box)
{
    if (box->wake_fd >= 0)
        (void)close(box->wake_fd);
    box->wake_fd = -1;
}

void
pn_box_close(pn_box *box)
{
    nudge_watchers(box);
    box->closed = true;
    pn_box_unopen(box);
    pn_letter *letter;
    while ((letter = pn_box_take(box)) != NULL)
        pn_letter_free(letter);
}

pn_box *
pn_box_keep(pn_box *box)
{
    box->references++;
    return box;
}

void
pn_box_drop(pn_box *box)
{
    if (--box->references > 0)
        return;
    pn_box_close(box);
    pn_free(box);
}

int
pn_box_push(pn_box *box, pn_letter *letter)
{
    if (box->closed) {
        pn_letter_free(letter);
        return PN_ECLOSED;
    }
    bool control = pn_kind_is_control(letter->env.kind);
    (void)atomic_fetch_add(&box->count, 1);
    (void)atomic_fetch_add(&box->messages, control ? 0 : 1);
    (void)atomic_fetch_add(&box->bytes, letter->weight);
    pn_queue *queue = control ? &box->control : &box->payload;
    if (!pn_queue_push(queue, &letter->node))
        return PN_OK;
    if (box->thread == PyThread_get_thread_ident())
        return PN_MORE;
    wake(box);
    return PN_OK;
}

/* The next node of a queue; NULL: none, and a push will wake us. */
static pn_queue_node *
take_or_rest(pn_queue *queue)
{
    pn_queue_node *node = pn_queue_take(queue);
    if (node != NULL)
        return node;
    pn_queue_rest(queue);
    return pn_queue_take(queue);
}

pn_letter *
pn_box_take(pn_box *box)
{
    pn_queue_node *node = take_or_rest(&box->control);
    if (node == NULL)
        node = take_or_rest(&box->payload);
    if (node == NULL)
        return NULL;
    pn_letter *letter = pn_letter_of_node(node);
    size_t ours = pn_kind_is_control(letter->env.kind) ? 0 : 1;
    (void)atomic_fetch_sub(&box->count, 1);
    size_t messages = atomic_fetch_sub(&box->messages, ours) - ours;
    size_t bytes =
        atomic_fetch_sub(&box->bytes, letter->weight) - letter->weight;
    if (box->watchers.count > 0 && messages <= box->watch_messages &&
        bytes <= box->watch_bytes)
        nudge_watchers(box);
    return letter;
}

bool
pn_box_is_awake(pn_box *box)
{
    return atomic_load(&box->control.awake) ||
           atomic_load(&box->payload.awake);
}

void
pn_box_acknowledge(pn_box *box)
{
    uint64_t times;
    if (box->wake_fd >= 0 && read(box->wake_fd, &times, sizeof times) < 0)
        return; /* woken for nothing */
}

/* --- finding --- */

static void
drop_capsule(PyObject *capsule)
{
    pn_box *box = PyCapsule_GetPointer(capsule, NULL);
    if (box != NULL)
        pn_box_drop(box);
}

pn_box *
pn_box_find(pn_state *state, uint64_t node, uint64_t group)
{
    PyObject *key = PyLong_FromUnsignedLongLong(node);
    PyObject *capsule =
        key == NULL ? NULL : PyDict_GetItemWithError(state->boxes, key);
    Py_XDECREF(key);
    pn_box *box = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, NULL);
    PyErr_Clear(); /* not found, if only for want of memory */
    return box == NULL || box->group != group || box->closed ? NULL : box;
}

int
pn_box_publish(pn_state *state, pn_box *box)
{
    PyObject *key = PyLong_FromUnsignedLongLong(box->node);
    PyObject *capsule =
        key == NULL ? NULL : PyCapsule_New(box, NULL, drop_capsule);
    if (capsule != NULL)
        (void)pn_box_keep(box);
    int err =
        capsule == NULL ? -1 : PyDict_SetItem(state->boxes, key, capsule);
    Py_XDECREF(capsule);
    Py_XDECREF(key);
    return err;
}

void
pn_box_shut(pn_state *state, pn_box *box)
{
    box->closed = true;
    nudge_watchers(box);
    pn_box_withdraw(state, box);
}

void
pn_box_withdraw(pn_state *state, pn_box *box)
{
    if (state->boxes == NULL)
        return;
    PyObject *key = PyLong_FromUnsignedLongLong(box->node);
    if (key == NULL || PyDict_DelItem(state->boxes, key) < 0)
        PyErr_Clear();
    Py_XDECREF(key);
}
