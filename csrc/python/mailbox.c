/* The life of a Mailbox: made, attached to a loop, closed. */
#include "python/cell.h"

#include "base/alloc.h"
#include "base/status.h"
#include "python/error.h"
#include "python/mailbox_direct.h"
#include "python/mailbox_flight.h"
#include "python/mailbox_linger.h"
#include "python/mailbox_park.h"
#include "python/mailbox_payload.h"
#include "python/mailbox_told.h"
#include "python/mailbox_type.h"
#include "python/metrics.h"
#include "python/stream.h"

#include <stddef.h>
#include <structmember.h>
#include <sys/random.h>

/* Attributes of the port object, in the order of pn_port. */
static const char *const port_names[] = {
    "dumps",   "loads",    "dump_error", "load_error", "start_task", "defer",
    "lend",    "drive",    "control",    "lost",       "fatal",      "failed",
    "resolve", "explain",  "doom",       "define",     "introduce",  "proxy",
    "actor",   "progress", "table",      "names",
};

#define PORT_SIZE (sizeof port_names / sizeof *port_names)

_Static_assert(PORT_SIZE == sizeof(pn_port) / sizeof(PyObject *),
               "one name a member");

static int
read_port(MailboxObject *self, PyObject *port)
{
    PyObject **members = (PyObject **)&self->port;
    for (size_t i = 0; i < PORT_SIZE; i++) {
        members[i] = PyObject_GetAttrString(port, port_names[i]);
        if (members[i] == NULL)
            return -1;
    }
    if (PyDict_Check(self->port.names) && PyDict_Check(self->port.table))
        return 0;
    PyErr_SetString(PyExc_TypeError, "port.names and port.table are dicts");
    return -1;
}

static int
init_engine(MailboxObject *self)
{
    uint64_t first_id;
    self->thread = PyThread_get_thread_ident();
    /* Ids of different processes differ in practice, for the logs' sake. */
    if (getrandom(&first_id, sizeof first_id, 0) < 0)
        return -errno;
    pn_pending_init(&self->pending, (first_id >> 16 << 8) + 1);
    self->box = pn_box_new(self->number);
    return self->box == NULL ? PN_ENOMEM : PN_OK;
}

static PyObject *
mailbox_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {
        "number",          "actor",        "port", "message_bytes",
        "outbox_messages", "outbox_bytes", NULL};
    unsigned long long number;
    PyObject *actor, *port;
    pn_link_limits limits = {
        .message_bytes = (size_t)1 << 30,
        .outbox_messages = 100000,
        .outbox_bytes = (size_t)64 << 20,
    };
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KOO|$nnn:Mailbox", names,
                                     &number, &actor, &port,
                                     (Py_ssize_t *)&limits.message_bytes,
                                     (Py_ssize_t *)&limits.outbox_messages,
                                     (Py_ssize_t *)&limits.outbox_bytes))
        return NULL;
    if (number == 0 || number != pn_node_of(number))
        return PyErr_Format(PyExc_ValueError,
                            "%llu is no number of a node: 1 to 2**%d - 1",
                            number, PN_NODE_BITS);
    if (pn_mailbox_check_limits(&limits) < 0)
        return NULL;
    MailboxObject *self = (MailboxObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->poller.fd = -1;
    self->timer = -1;
    self->number = number;
    self->limits = limits;
    pn_mailbox_init_segments(self);
    self->state = pn_state_of(type);
    self->slow = PySet_New(NULL);
    if (self->state == NULL || self->slow == NULL || read_port(self, port) < 0)
        goto fail;
    int err = init_engine(self);
    if (err == 0)
        self->main = pn_cell_new(self, number, actor);
    if (self->main != NULL)
        return (PyObject *)self;
    if (err < 0)
        (void)pn_raise_status(self->state, err);
fail:
    Py_DECREF(self);
    return NULL;
}

static int
mailbox_traverse(PyObject *op, visitproc visit, void *arg)
{
    MailboxObject *self = (MailboxObject *)op;
    PyObject **port = (PyObject **)&self->port;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->main);
    for (CellObject *cell = self->ready; cell != NULL; cell = cell->next_ready)
        Py_VISIT(cell);
    for (pn_told *told = self->told; told != NULL; told = told->next)
        Py_VISIT(told->future);
    Py_VISIT(self->loop);
    Py_VISIT(self->of_loop);
    Py_VISIT(self->spinner);
    Py_VISIT(self->loop_ready);
    Py_VISIT(self->call_soon);
    Py_VISIT(self->end_turn);
    Py_VISIT(self->context);
    Py_VISIT(self->slow);
    Py_VISIT(self->on_dead_letter);
    Py_VISIT(self->flight.recorder);
    for (size_t i = 0; i < PORT_SIZE; i++)
        Py_VISIT(port[i]);
    int err = pn_metrics_traverse(self, visit, arg);
    if (err != 0)
        return err;
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->pending.waiters, &cursor)) != NULL)
        Py_VISIT((PyObject *)((pn_waiter *)entry->value)->object);
    cursor = 0;
    while ((entry = pn_map_next(&self->cells, &cursor)) != NULL)
        Py_VISIT((PyObject *)entry->value);
    return 0;
}

/* Give back the futures that nobody will resolve. */
static void
drop_pending(MailboxObject *self)
{
    pn_waiter *list = pn_pending_take_node(&self->pending, 0, true);
    while (list != NULL) {
        pn_waiter *waiter = list;
        list = waiter->next;
        PyObject *future = waiter->object;
        pn_pending_recycle(&self->pending, waiter);
        Py_DECREF(future);
    }
}

static int
mailbox_clear(PyObject *op)
{
    MailboxObject *self = (MailboxObject *)op;
    PyObject **port = (PyObject **)&self->port;
    self->closed = true;
    pn_flight_drop(self, false);
    Py_CLEAR(self->on_dead_letter);
    drop_pending(self);
    pn_mailbox_drop_ready(self);
    pn_mailbox_drop_parked_for(self, 0, true);
    pn_mailbox_drop_told(self, true);
    pn_mailbox_drop_cells(self);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->of_loop);
    Py_CLEAR(self->spinner);
    Py_CLEAR(self->loop_ready);
    Py_CLEAR(self->call_soon);
    Py_CLEAR(self->end_turn);
    Py_CLEAR(self->context);
    Py_CLEAR(self->slow);
    pn_metrics_clear(self);
    for (size_t i = 0; i < PORT_SIZE; i++)
        Py_CLEAR(port[i]);
    return 0;
}

static void
mailbox_dealloc(PyObject *op)
{
    MailboxObject *self = (MailboxObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)mailbox_clear(op);
    pn_mailbox_drop_links(self);
    pn_pending_free(&self->pending);
    pn_deadlines_free(&self->deadlines);
    pn_park_free(&self->park);
    pn_map_free(&self->running);
    pn_recalled_free(&self->recalled);
    pn_metrics_free(self);
    pn_buffer_free(&self->spare);
    pn_fuse_free(&self->fuse);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- methods --- */

static PyObject *
mailbox_become(PyObject *op, PyObject *number)
{
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred() || pn_mailbox_check(self) < 0)
        return NULL;
    if (value == 0 || value != pn_node_of(value) || value == self->number ||
        pn_map_get(&self->peers, value) != NULL)
        return PyErr_Format(PyExc_ValueError, "number %llu is taken", value);
    self->number = self->main->number = self->box->node = value;
    Py_RETURN_NONE;
}

static PyObject *
mailbox_hold(PyObject *op, PyObject *unused)
{
    (void)unused;
    ((MailboxObject *)op)->held = true;
    Py_RETURN_NONE;
}

static PyObject *
mailbox_close(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    if (self->closed)
        Py_RETURN_NONE;
    int err = pn_mailbox_detach(self);
    self->closed = true;
    pn_flight_drop(self, false);
    pn_mailbox_drop_links(self);
    return err < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
mailbox_forget(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    self->closed = true;
    pn_flight_drop(self, true);
    Py_CLEAR(self->loop);
    pn_mailbox_drop_links(self);
    Py_RETURN_NONE;
}

static PyObject *
mailbox_peers(PyObject *op, PyObject *number)
{
    MailboxObject *self = (MailboxObject *)op;
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    PyObject *list = PyList_New(0);
    const pn_route *route = pn_router_find(&self->router, value);
    size_t cursor = 0;
    const pn_map_entry *entry;
    while (list != NULL && route != NULL &&
           (entry = pn_map_next(&route->peers, &cursor)) != NULL) {
        PyObject *peer = PyLong_FromUnsignedLongLong(entry->key);
        if (peer == NULL || PyList_Append(list, peer) < 0)
            Py_CLEAR(list);
        Py_XDECREF(peer);
    }
    return list;
}

static PyObject *
mailbox_fileno(PyObject *op, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(((MailboxObject *)op)->poller.fd);
}

static PyObject *
mailbox_hello_bytes(PyObject *op, PyObject *unused)
{
    (void)op;
    (void)unused;
    pn_hello hello;
    uint8_t bytes[PN_HELLO_SIZE];
    pn_mailbox_hello(&hello);
    pn_hello_encode(&hello, bytes);
    return PyBytes_FromStringAndSize((const char *)bytes, sizeof bytes);
}

/* --- attributes --- */

static PyObject *
mailbox_get_actor(PyObject *op, void *closure)
{
    (void)closure;
    CellObject *cell = ((MailboxObject *)op)->main;
    return cell == NULL ? Py_NewRef(Py_None) : pn_cell_actor(cell);
}

static PyObject *
mailbox_get_tasks(PyObject *op, void *closure)
{
    (void)closure;
    CellObject *cell = ((MailboxObject *)op)->main;
    return cell == NULL ? pn_mailbox_unusable()
                        : Py_XNewRef(pn_cell_tasks(cell));
}

static PyGetSetDef mailbox_getset[] = {
    {"actor", mailbox_get_actor, NULL, "The node's own actor.", NULL},
    {"tasks", mailbox_get_tasks, NULL,
     "The set of command tasks that its own actor runs.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define METHOD(name, function, flags, doc)                                    \
    {                                                                         \
        name, (PyCFunction)(void (*)(void))function, flags, PyDoc_STR(doc)    \
    }

static PyMethodDef mailbox_methods[] = {
    METHOD("attach", pn_mailbox_attach, METH_O,
           "attach($self, loop, /)\n--\n\nBe called by this running loop."),
    METHOD("become", mailbox_become, METH_O,
           "become($self, number, /)\n--\n\n"
           "Take the number that the arbiter gave."),
    METHOD(
        "limit", pn_mailbox_limit, METH_VARARGS,
        "limit($self, message_bytes, outbox_messages, outbox_bytes, /)\n--\n\n"
        "Replace the limits, of its links too."),
    METHOD("hold", mailbox_hold, METH_NOARGS,
           "hold($self, /)\n--\n\nHandle nothing more until attach."),
    METHOD("connect", pn_mailbox_connect, METH_VARARGS | METH_KEYWORDS,
           "connect($self, number, fd, *, onward=False)\n--\n\n"
           "Take over fd as the link to actor number, and to unknown ones "
           "if onward."),
    METHOD("disconnect", pn_mailbox_disconnect, METH_O,
           "disconnect($self, number, /)\n--\n\n"
           "Forget the actor, and close its link, or its box."),
    METHOD("enter", pn_mailbox_enter, METH_O,
           "enter($self, group, /)\n--\n\n"
           "Be found by the nodes of this process that belong to the same "
           "arbiter, whose number is group."),
    METHOD("connect_near", pn_mailbox_connect_near,
           METH_VARARGS | METH_KEYWORDS,
           "connect_near($self, number, *, onward=False)\n--\n\n"
           "Expect a node of this process; reach unknown actors by it if "
           "onward, when it must be there."),
    METHOD("add_cell", pn_mailbox_add_cell, METH_NOARGS,
           "add_cell($self, /)\n--\n\nA Cell for another actor."),
    METHOD("remove_cell", pn_mailbox_remove_cell, METH_O,
           "remove_cell($self, number, /)\n--\n\n"
           "Its actor has ended: its cell takes no more."),
    METHOD("cell", pn_mailbox_get_cell, METH_O,
           "cell($self, number, /)\n--\n\n"
           "The Cell of an actor of this node, or None."),
    METHOD("cells", pn_mailbox_list_cells, METH_NOARGS,
           "cells($self, /)\n--\n\nThe Cells of its other actors."),
    METHOD("stalled", pn_mailbox_list_stalled, METH_NOARGS,
           "stalled($self, /)\n--\n\nThe cells in which a message waits for "
           "longer than slow, and did not when this was called before."),
    METHOD("busy", pn_mailbox_is_busy, METH_NOARGS, PN_BUSY_DOC),
    METHOD("send", pn_mailbox_send, METH_FASTCALL,
           "send($self, target, command, args, kwargs, /)\n--\n\n"
           "Send a command; the future is its reply, or None for one "
           "without."),
    METHOD("tell", pn_mailbox_tell, METH_FASTCALL,
           "tell($self, target, command, args, kwargs, /)\n--\n\n"
           "Send a command without a reply; the future is None."),
    METHOD("stream", pn_mailbox_stream, METH_FASTCALL, PN_STREAM_DOC),
    METHOD("post", pn_mailbox_post, METH_VARARGS | METH_KEYWORDS,
           "post($self, kind, target, payload, *, source=..., id=0)\n--\n\n"
           "Send a message of any kind; False if there is no way."),
    METHOD("fail", pn_mailbox_fail, METH_VARARGS,
           "fail($self, target, make, /)\n--\n\n"
           "Fail the asks that wait for actors of target's node, or all if "
           "None, with the exceptions that make(id of the ask) gives."),
    METHOD("know", pn_mailbox_know, METH_VARARGS,
           "know($self, target, serial, /)\n--\n\n"
           "Actor target knows the commands up to this serial."),
    METHOD("peers", mailbox_peers, METH_O,
           "peers($self, number, /)\n--\n\nWho talks with it here."),
    METHOD("commands", pn_mailbox_commands, METH_NOARGS,
           "commands($self, /)\n--\n\n"
           "What each command did: (name, failed, seconds, counts by log2 of "
           "microseconds)."),
    METHOD("stats", pn_mailbox_stats, METH_NOARGS,
           "stats($self, /)\n--\n\n"
           "Counts: links, pending, queued_messages, queued_bytes, parked, "
           "parked_bytes, handled, dead_letters, direct, relayed, segments, "
           "loans."),
    METHOD("record", pn_mailbox_record, METH_VARARGS | METH_KEYWORDS,
           "record($self, recorder, manager, kind, name, *, turns=False)\n"
           "--\n\nWrite what happens into this Recorder; turns: those of the "
           "loop, too, as far as they are seen here."),
    METHOD("note_state", pn_mailbox_note_state, METH_O,
           "note_state($self, state, /)\n--\n\nWrite that, too."),
    METHOD("fileno", mailbox_fileno, METH_NOARGS,
           "fileno($self, /)\n--\n\n"
           "The descriptor that stands for all links."),
    METHOD("hello", mailbox_hello_bytes, METH_NOARGS,
           "hello($self, /)\n--\n\nThe payload of a hello."),
    METHOD("flush", pn_mailbox_flush, METH_NOARGS,
           "flush($self, /)\n--\n\n"
           "Send what can be sent; True if all has left."),
    METHOD("wait", pn_mailbox_wait, METH_O,
           "wait($self, seconds, /)\n--\n\n"
           "Without a loop: block until something comes and handle it; "
           "False if nothing came."),
    METHOD("close", mailbox_close, METH_NOARGS,
           "close($self, /)\n--\n\nClose every link and leave the loop."),
    METHOD("forget", mailbox_forget, METH_NOARGS,
           "forget($self, /)\n--\n\n"
           "In a forked child: close every descriptor without a byte."),
    METHOD("linger", pn_mailbox_linger, METH_FASTCALL, NULL),
    METHOD("_on_ready", pn_mailbox_on_ready, METH_NOARGS, NULL),
    METHOD("_end_turn", pn_mailbox_end_turn, METH_NOARGS, NULL),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef mailbox_members[] = {
    {"number", T_ULONGLONG, offsetof(MailboxObject, number), READONLY,
     "The number of its actor."},
    {"main", T_OBJECT, offsetof(MailboxObject, main), READONLY,
     "The Cell of the node's own actor."},
    {"link_idle", T_DOUBLE, offsetof(MailboxObject, link_idle), 0,
     "Seconds after which a direct link on which nothing passes is closed; 0: "
     "none is made."},
    {"segment_bytes", T_ULONG, offsetof(MailboxObject, budget.byte_limit), 0,
     "Bytes of the segments that it lends, at most; 0: none."},
    {"segment_idle", T_DOUBLE, offsetof(MailboxObject, segment_idle), 0,
     "Seconds after which a segment that is not used is dropped."},
    {"last_index", T_ULONGLONG, offsetof(MailboxObject, last_index), READONLY,
     "How many other actors it has had; their numbers count up."},
    {"fuse_signal", T_INT, offsetof(MailboxObject, fuse_signal), 0, NULL},
    {"unbegun", T_INT, offsetof(MailboxObject, unbegun), 0,
     "How many command tasks were made and have not begun."},
    {"on_dead_letter", T_OBJECT, offsetof(MailboxObject, on_dead_letter), 0,
     "Called for each tell that is lost, unless None: (target, name, command, "
     "reason)."},
    {"draining", T_BOOL, offsetof(MailboxObject, draining), 0,
     "Whether messages of other nodes are turned away that have not come."},
    {"closed", T_BOOL, offsetof(MailboxObject, closed), READONLY,
     "Whether it was closed."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(mailbox_doc,
             "Mailbox(number, actor, port, *, message_bytes=1073741824, "
             "outbox_messages=100000, outbox_bytes=67108864)\n--\n\n"
             "An actor's end of messaging. All methods belong to the thread "
             "that made it.");

static PyType_Slot mailbox_slots[] = {
    {Py_tp_doc, (void *)mailbox_doc},
    {Py_tp_new, mailbox_new},
    {Py_tp_methods, mailbox_methods},
    {Py_tp_members, mailbox_members},
    {Py_tp_getset, mailbox_getset},
    {Py_tp_traverse, mailbox_traverse},
    {Py_tp_clear, mailbox_clear},
    {Py_tp_dealloc, mailbox_dealloc},
    {0, NULL},
};

static PyType_Spec mailbox_spec = {
    .name = "pulsar_native._native.Mailbox",
    .basicsize = sizeof(MailboxObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = mailbox_slots,
};

static PyMethodDef functions[] = {
    METHOD("link_pair", pn_mailbox_link_pair, METH_NOARGS,
           "link_pair($module, /)\n--\n\n"
           "Two connected descriptors for connect(), close-on-exec, in two "
           "processes."),
    {NULL, NULL, 0, NULL},
};

int
pn_add_mailbox(PyObject *module, pn_state *state)
{
    state->boxes = PyDict_New();
    state->mailbox_type =
        PyType_FromModuleAndSpec(module, &mailbox_spec, NULL);
    if (state->boxes == NULL || state->mailbox_type == NULL ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->mailbox_type);
}
