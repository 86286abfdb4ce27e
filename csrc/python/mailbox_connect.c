/* What is told to a mailbox of its links: which there are, and their limits.
 */
#include "base/alloc.h"
#include "base/status.h"
#include "python/error.h"
#include "python/mailbox.h"

#include <errno.h>
#include <unistd.h>

int
pn_mailbox_check_limits(const pn_link_limits *limits)
{
    if (limits->message_bytes <= PY_SSIZE_T_MAX &&
        limits->outbox_messages <= PY_SSIZE_T_MAX &&
        limits->outbox_bytes <= PY_SSIZE_T_MAX)
        return 0;
    PyErr_SetString(PyExc_ValueError, "a limit is negative");
    return -1;
}

int
pn_mailbox_open(MailboxObject *self)
{
    int err = self->poller.fd < 0 ? pn_poller_init(&self->poller) : 0;
    if (err == 0)
        return 0;
    (void)pn_raise_status(self->state, err);
    return -1;
}

/* The same, and have a route to it. */
static int
adopt(MailboxObject *self, pn_peer *peer, bool onward)
{
    int err = pn_mailbox_adopt(self, peer);
    if (err < 0)
        return err;
    err = pn_router_add(&self->router, peer->number, peer);
    if (err < 0) {
        (void)pn_map_take(&self->peers, peer->number);
        pn_poller_remove(&self->poller, peer->link.fd);
        return err;
    }
    if (onward)
        self->onward = peer;
    return PN_OK;
}

PyObject *
pn_mailbox_connect(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"number", "fd", "onward", NULL};
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long number;
    int fd, onward = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Ki|$p:connect", names,
                                     &number, &fd, &onward) ||
        pn_mailbox_check(self) < 0 || pn_mailbox_open(self) < 0)
        return NULL;
    if (number == 0 || number != pn_node_of(number)) {
        PyErr_Format(PyExc_ValueError, "%llu is no number of a node", number);
        return NULL;
    }
    if (number == self->number || pn_map_get(&self->peers, number) != NULL)
        return PyErr_Format(PyExc_ValueError, "actor %llu has a link", number);
    pn_peer *peer = pn_alloc_zeroed(1, sizeof *peer);
    if (peer == NULL)
        return PyErr_NoMemory();
    peer->number = peer->node = number;
    int err = pn_link_init(&peer->link, fd, &self->limits);
    if (err == 0)
        err = adopt(self, peer, onward != 0);
    if (err < 0) {
        pn_link_close(&peer->link);
        pn_free(peer);
        return pn_raise_status(self->state, err);
    }
    Py_RETURN_NONE;
}

PyObject *
pn_mailbox_link_pair(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    int fds[2];
    int err = pn_link_pair(fds);
    if (err < 0) {
        errno = -err;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    PyObject *pair = Py_BuildValue("ii", fds[0], fds[1]);
    if (pair == NULL) {
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    return pair;
}

/* The limits that the spec tells: for the links that stand already too. */
PyObject *
pn_mailbox_limit(PyObject *op, PyObject *args)
{
    MailboxObject *self = (MailboxObject *)op;
    Py_ssize_t message_bytes, outbox_messages, outbox_bytes;
    if (!PyArg_ParseTuple(args, "nnn:limit", &message_bytes, &outbox_messages,
                          &outbox_bytes) ||
        pn_mailbox_check(self) < 0)
        return NULL;
    pn_link_limits limits = {
        .message_bytes = (size_t)message_bytes,
        .outbox_messages = (size_t)outbox_messages,
        .outbox_bytes = (size_t)outbox_bytes,
    };
    if (pn_mailbox_check_limits(&limits) < 0)
        return NULL;
    self->limits = limits;
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->peers, &cursor)) != NULL)
        pn_link_limit(&((pn_peer *)entry->value)->link, &self->limits);
    Py_RETURN_NONE;
}

PyObject *
pn_mailbox_know(PyObject *op, PyObject *args)
{
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long target, serial;
    if (!PyArg_ParseTuple(args, "KK:know", &target, &serial) ||
        pn_mailbox_check(self) < 0)
        return NULL;
    if (pn_mailbox_shipped(self, target, serial) < 0)
        return NULL;
    Py_RETURN_NONE;
}
