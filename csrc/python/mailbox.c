/* The life of a Mailbox: made, attached to a loop, closed. */
#include "python/mailbox.h"

#include "base/alloc.h"
#include "base/status.h"
#include "python/error.h"
#include "python/mailbox_type.h"

#include <stddef.h>
#include <structmember.h>
#include <sys/random.h>

/* Attributes of the port object, in the order of pn_port. */
static const char *const port_names[] = {
    "dumps",   "loads",   "dump_error", "load_error", "start_task",
    "defer",   "control", "lost",       "fatal",      "failed",
    "resolve", "explain", "define",     "introduce",  "proxy",
    "table",   "names",
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

/* The peer that stands for the actor itself. */
static int
add_self(MailboxObject *self)
{
    pn_peer *peer = pn_alloc_zeroed(1, sizeof *peer);
    if (peer == NULL)
        return PN_ENOMEM;
    peer->link.fd = -1;
    peer->local = true;
    peer->greeted = true;
    peer->number = self->number;
    pn_inbox_init(&peer->link.in, self->limits.message_bytes);
    pn_outbox_init(&peer->link.out, self->limits.outbox_messages,
                   self->limits.outbox_bytes);
    int err = pn_map_put(&self->peers, self->number, peer);
    if (err < 0)
        pn_free(peer);
    else
        self->self = peer;
    return err;
}

static int
init_engine(MailboxObject *self)
{
    uint64_t first_id;
    self->poller.fd = -1;
    self->thread = PyThread_get_thread_ident();
    /* Ids of different processes differ in practice, for the logs' sake. */
    if (getrandom(&first_id, sizeof first_id, 0) < 0)
        return -errno;
    pn_pending_init(&self->pending, (first_id >> 16 << 8) + 1);
    return add_self(self);
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
    if (number == 0) {
        PyErr_SetString(PyExc_ValueError, "number 0 is nobody");
        return NULL;
    }
    if (pn_mailbox_check_limits(&limits) < 0)
        return NULL;
    MailboxObject *self = (MailboxObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->poller.fd = -1;
    self->number = number;
    self->limits = limits;
    self->actor = Py_NewRef(actor);
    self->state = pn_state_of(type);
    self->tasks = PySet_New(NULL);
    self->slow = PySet_New(NULL);
    if (self->state == NULL || self->tasks == NULL || self->slow == NULL ||
        read_port(self, port) < 0)
        goto fail;
    int err = init_engine(self);
    if (err == 0)
        return (PyObject *)self;
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
    Py_VISIT(self->actor);
    Py_VISIT(self->loop);
    Py_VISIT(self->create_future);
    Py_VISIT(self->call_soon);
    Py_VISIT(self->end_turn);
    Py_VISIT(self->context);
    Py_VISIT(self->tasks);
    Py_VISIT(self->slow);
    for (size_t i = 0; i < PORT_SIZE; i++)
        Py_VISIT(port[i]);
    size_t cursor = 0;
    const pn_map_entry *entry;
    while ((entry = pn_map_next(&self->pending.waiters, &cursor)) != NULL)
        Py_VISIT((PyObject *)((pn_waiter *)entry->value)->object);
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
    drop_pending(self);
    Py_CLEAR(self->actor);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->create_future);
    Py_CLEAR(self->call_soon);
    Py_CLEAR(self->end_turn);
    Py_CLEAR(self->context);
    Py_CLEAR(self->tasks);
    Py_CLEAR(self->slow);
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
    pn_buffer_free(&self->spare);
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
    if (value == 0 || pn_map_get(&self->peers, value) != NULL)
        return PyErr_Format(PyExc_ValueError, "number %llu is taken", value);
    if (pn_map_put(&self->peers, value, self->self) < 0)
        return PyErr_NoMemory();
    (void)pn_map_take(&self->peers, self->number);
    self->self->number = self->number = value;
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
    pn_mailbox_drop_links(self);
    return err < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
mailbox_forget(PyObject *op, PyObject *unused)
{
    (void)unused;
    MailboxObject *self = (MailboxObject *)op;
    self->closed = true;
    Py_CLEAR(self->loop);
    pn_mailbox_drop_links(self);
    Py_RETURN_NONE;
}

static PyObject *
mailbox_know(PyObject *op, PyObject *args)
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
mailbox_stats(PyObject *op, PyObject *unused)
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
    return Py_BuildValue(
        "{s:n,s:n,s:n,s:n,s:K,s:K}", "links", (Py_ssize_t)self->peers.count,
        "pending", (Py_ssize_t)pn_pending_count(&self->pending),
        "queued_messages", (Py_ssize_t)messages, "queued_bytes",
        (Py_ssize_t)bytes, "handled", (unsigned long long)self->handled,
        "dead_letters", (unsigned long long)self->dead_letters);
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
           "Forget the actor, and close its link."),
    METHOD("send", pn_mailbox_send, METH_FASTCALL,
           "send($self, target, command, args, kwargs, /)\n--\n\n"
           "Send a command; the future is its reply, or None for one "
           "without."),
    METHOD("tell", pn_mailbox_tell, METH_FASTCALL,
           "tell($self, target, command, args, kwargs, /)\n--\n\n"
           "Send a command without a reply; the future is None."),
    METHOD("post", pn_mailbox_post, METH_VARARGS | METH_KEYWORDS,
           "post($self, kind, target, payload, *, source=..., id=0)\n--\n\n"
           "Send a message of any kind; False if there is no way."),
    METHOD("fail", pn_mailbox_fail, METH_VARARGS,
           "fail($self, target, make, /)\n--\n\n"
           "Fail the asks that wait for actors of target's node, or all if "
           "None, with the exceptions that make() gives."),
    METHOD("know", mailbox_know, METH_VARARGS,
           "know($self, target, serial, /)\n--\n\n"
           "Actor target knows the commands up to this serial."),
    METHOD("peers", mailbox_peers, METH_O,
           "peers($self, number, /)\n--\n\n"
           "Numbers of the actors that it talks with through this mailbox."),
    METHOD("stats", mailbox_stats, METH_NOARGS,
           "stats($self, /)\n--\n\n"
           "Counts: links, pending, queued_messages, queued_bytes, handled, "
           "dead_letters."),
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
    METHOD("_on_ready", pn_mailbox_on_ready, METH_NOARGS, NULL),
    METHOD("_end_turn", pn_mailbox_end_turn, METH_NOARGS, NULL),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef mailbox_members[] = {
    {"number", T_ULONGLONG, offsetof(MailboxObject, number), READONLY,
     "The number of its actor."},
    {"tasks", T_OBJECT, offsetof(MailboxObject, tasks), READONLY,
     "The set of command tasks that run."},
    {"actor", T_OBJECT, offsetof(MailboxObject, actor), READONLY,
     "The actor whose mailbox it is."},
    {"ending", T_BOOL, offsetof(MailboxObject, ending), 0,
     "Whether commands that are cancelled now get no answer."},
    {"unbegun", T_INT, offsetof(MailboxObject, unbegun), 0,
     "How many command tasks were made and have not begun."},
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
    {Py_tp_doc, (void *)mailbox_doc},   {Py_tp_new, mailbox_new},
    {Py_tp_methods, mailbox_methods},   {Py_tp_members, mailbox_members},
    {Py_tp_traverse, mailbox_traverse}, {Py_tp_clear, mailbox_clear},
    {Py_tp_dealloc, mailbox_dealloc},   {0, NULL},
};

static PyType_Spec mailbox_spec = {
    .name = "pulsar_native._native.Mailbox",
    .basicsize = sizeof(MailboxObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = mailbox_slots,
};

static PyMethodDef functions[] = {
    METHOD("current_mailbox", pn_current_mailbox, METH_NOARGS,
           "current_mailbox($module, /)\n--\n\n"
           "The current actor's mailbox, if its loop runs in this thread; "
           "else None."),
    METHOD("link_pair", pn_mailbox_link_pair, METH_NOARGS,
           "link_pair($module, /)\n--\n\n"
           "Two connected descriptors for connect(), close-on-exec, in two "
           "processes."),
    {NULL, NULL, 0, NULL},
};

int
pn_add_mailbox(PyObject *module, pn_state *state)
{
    state->mailbox_type =
        PyType_FromModuleAndSpec(module, &mailbox_spec, NULL);
    if (state->mailbox_type == NULL ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    state->current = PyContextVar_New("pulsar_native.current", Py_None);
    if (state->current == NULL ||
        PyModule_AddObjectRef(module, "current", state->current) < 0)
        return -1;
    return PyModule_AddType(module, (PyTypeObject *)state->mailbox_type);
}
