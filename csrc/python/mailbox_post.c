/* Messages of the kinds that Python decides on, and asks that must fail. */
#include "python/future.h"
#include "python/mailbox_fuse.h"
#include "python/mailbox_park.h"
#include "python/mailbox_told.h"
#include "python/payload.h"
#include "python/source.h"

PyObject *
pn_mailbox_post(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind", "target", "payload", "source", "id", NULL};
    MailboxObject *self = (MailboxObject *)op;
    unsigned char kind;
    unsigned long long target, source = self->number, id = 0;
    PyObject *payload;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "bKS|$KK:post", names,
                                     &kind, &target, &payload, &source, &id) ||
        pn_mailbox_check(self) < 0)
        return NULL;
    if (!pn_kind_is_known(kind))
        return PyErr_Format(PyExc_ValueError, "no kind of message: %d", kind);
    pn_ref bytes = {0};
    pn_way way = pn_mailbox_way(self, target);
    if (!pn_way_exists(way) || (way.peer != NULL && way.peer->lost))
        Py_RETURN_FALSE;
    if (pn_payload_of(payload, &bytes) < 0)
        return NULL;
    pn_envelope env = {
        .kind = kind, .source = source, .target = target, .id = id};
    if (pn_mailbox_put(self, way, &env, bytes) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

/* --- failures --- */

PyObject *
pn_mailbox_load_error(MailboxObject *self, uint64_t source,
                      const char *condition, const char *bytes,
                      Py_ssize_t size)
{
    PyObject *load = Py_NewRef(self->port.load_error);
    PyObject *error =
        PyObject_CallFunction(load, "Ksy#", (unsigned long long)source,
                              condition, bytes == NULL ? "" : bytes, size);
    Py_DECREF(load);
    return error;
}

void
pn_mailbox_raise(MailboxObject *self, uint64_t target, const char *condition,
                 const char *bytes, Py_ssize_t size)
{
    PyObject *error =
        pn_mailbox_load_error(self, target, condition, bytes, size);
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

PyObject *
pn_mailbox_explain(MailboxObject *self, uint64_t target, PyObject *name)
{
    PyObject *explain = Py_NewRef(self->port.explain);
    PyObject *answer =
        PyObject_CallFunction(explain, "KO", (unsigned long long)target, name);
    Py_DECREF(explain);
    return answer;
}

void
pn_mailbox_raise_unreachable(MailboxObject *self, uint64_t target,
                             PyObject *name)
{
    PyObject *known = name == NULL ? PyUnicode_New(0, 0) : Py_NewRef(name);
    PyObject *answer = NULL;
    if (known != NULL)
        answer = pn_mailbox_explain(self, target, known);
    Py_XDECREF(known);
    const char *condition, *bytes;
    Py_ssize_t size;
    if (answer != NULL &&
        PyArg_ParseTuple(answer, "sy#", &condition, &bytes, &size))
        pn_mailbox_raise(self, target, condition, bytes, size);
    Py_XDECREF(answer);
}

static void
cancel(MailboxObject *self, PyObject *future)
{
    PyObject *done = PyObject_CallMethod(future, "cancel", NULL);
    if (done == NULL)
        pn_mailbox_report(self);
    Py_XDECREF(done);
}

static void
fail(MailboxObject *self, PyObject *future, PyObject *make, uint64_t id)
{
    PyObject *error = PyObject_CallFunction(make, "K", (unsigned long long)id);
    if (error == NULL)
        error = pn_take_exception();
    pn_mailbox_resolve(self, future, true, error);
    Py_XDECREF(error);
}

PyObject *
pn_mailbox_fail(PyObject *op, PyObject *args)
{
    MailboxObject *self = (MailboxObject *)op;
    PyObject *number, *make;
    if (!PyArg_ParseTuple(args, "OO:fail", &number, &make))
        return NULL;
    bool all = number == Py_None;
    uint64_t target = all ? 0 : PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    Py_ssize_t count = 0;
    pn_mailbox_expire(self); /* whose time is over heard so first */
    pn_waiter *list =
        pn_pending_take_node(&self->pending, pn_node_of(target), all);
    while (list != NULL) {
        pn_waiter *waiter = list;
        list = waiter->next;
        PyObject *future = waiter->object;
        pn_waiter given_up = *waiter;
        pn_pending_recycle(&self->pending, waiter);
        if (make == Py_None)
            cancel(self, future);
        else
            fail(self, future, make, given_up.id);
        if (all)
            pn_mailbox_doom(self, &given_up);
        Py_DECREF(future);
        count++;
    }
    pn_mailbox_drop_parked_for(self, pn_node_of(target), all);
    if (all)
        pn_mailbox_drop_told(self, self->closed);
    if (!all)
        pn_source_orphan(self, pn_node_of(target));
    return PyLong_FromSsize_t(count);
}
