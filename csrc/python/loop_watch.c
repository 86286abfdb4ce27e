/* LoopCore: descriptors that others give it to watch. */
#include "python/error.h"
#include "python/handle.h"
#include "python/loop.h"

#include <limits.h>

/* The number of a descriptor or of an object that has one, as the module
 * selectors finds it. 0, or -1 with ValueError. */
static int
read_descriptor(PyObject *object, int *out)
{
    PyObject *number = NULL;
    if (PyLong_Check(object))
        number = Py_NewRef(object);
    else
        number = PyObject_CallMethod(object, "fileno", NULL);
    PyObject *whole = number == NULL ? NULL : PyNumber_Long(number);
    Py_XDECREF(number);
    if (whole == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError) &&
            !PyErr_ExceptionMatches(PyExc_TypeError) &&
            !PyErr_ExceptionMatches(PyExc_ValueError))
            return -1;
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "Invalid file object: %R", object);
        return -1;
    }
    int overflow;
    long value = PyLong_AsLongAndOverflow(whole, &overflow);
    Py_DECREF(whole);
    if (value < 0 || value >= INT_MAX) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %R", object);
        return -1;
    }
    *out = (int)value;
    return 0;
}

static PyObject *
raise_of(LoopObject *self, int status)
{
    if (self->forked) {
        PyErr_SetString(PyExc_RuntimeError,
                        "This event loop belongs to the process that made "
                        "it: a forked child cannot watch with it");
        return NULL;
    }
    return pn_raise_status(self->state, status);
}

/* _add_reader(fd, callback, *args), _add_writer(...). */
static PyObject *
watch(LoopObject *self, bool writing, PyObject *const *args, Py_ssize_t nargs)
{
    int fd;
    void *old = NULL;
    if (nargs < 2) {
        PyErr_SetString(PyExc_TypeError, "takes (fd, callback, *args)");
        return NULL;
    }
    if (pn_loop_check_closed(self) < 0 || read_descriptor(args[0], &fd) < 0)
        return NULL;
    PyObject *rest = PyTuple_New(nargs - 2);
    if (rest == NULL)
        return NULL;
    for (Py_ssize_t i = 2; i < nargs; i++)
        PyTuple_SET_ITEM(rest, i - 2, Py_NewRef(args[i]));
    PyObject *handle = pn_handle_new(self->state, (PyObject *)self, args[1],
                                     rest, NULL, NULL);
    if (handle == NULL)
        return NULL;
    int err = pn_watches_add(&self->watches, fd, writing, handle, &old);
    if (err < 0) {
        Py_DECREF(handle);
        return raise_of(self, err);
    }
    Py_INCREF(handle); /* the watch's */
    err = old == NULL ? 0 : pn_handle_cancel(old);
    Py_XDECREF((PyObject *)old);
    if (err < 0)
        Py_CLEAR(handle);
    return handle;
}

/* _remove_reader(fd), _remove_writer(fd): whether there was one. */
static PyObject *
unwatch(LoopObject *self, bool writing, PyObject *object)
{
    int fd;
    if (self->closed)
        Py_RETURN_FALSE;
    if (read_descriptor(object, &fd) < 0) {
        /* As the map of a selector: what it cannot find is not there. */
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return NULL;
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    if (self->guest != NULL && fd == pn_guest_fd(self->guest))
        Py_RETURN_FALSE;
    PyObject *handle = pn_watches_remove(&self->watches, fd, writing);
    if (handle == NULL)
        Py_RETURN_FALSE;
    int err = pn_handle_cancel(handle);
    Py_DECREF(handle);
    if (err < 0)
        return NULL;
    Py_RETURN_TRUE;
}

static PyObject *
loop_add_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return watch((LoopObject *)op, false, args, nargs);
}

static PyObject *
loop_add_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return watch((LoopObject *)op, true, args, nargs);
}

static PyObject *
loop_remove_reader(PyObject *op, PyObject *fd)
{
    return unwatch((LoopObject *)op, false, fd);
}

static PyObject *
loop_remove_writer(PyObject *op, PyObject *fd)
{
    return unwatch((LoopObject *)op, true, fd);
}

/* What the facade of a selector shows: (reader, writer), or None. */
static PyObject *
loop_watchers(PyObject *op, PyObject *object)
{
    LoopObject *self = (LoopObject *)op;
    int fd;
    if (read_descriptor(object, &fd) < 0)
        return NULL;
    if (self->guest != NULL && fd == pn_guest_fd(self->guest))
        Py_RETURN_NONE;
    PyObject *reader = pn_watches_get(&self->watches, fd, false);
    PyObject *writer = pn_watches_get(&self->watches, fd, true);
    if (reader == NULL && writer == NULL)
        Py_RETURN_NONE;
    return Py_BuildValue("(OO)", reader == NULL ? Py_None : reader,
                         writer == NULL ? Py_None : writer);
}

static PyObject *
loop_watched(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopObject *self = (LoopObject *)op;
    int guest = self->guest == NULL ? -1 : pn_guest_fd(self->guest);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < self->watches.count; i++) {
        const pn_watch *watch = &self->watches.items[i];
        if ((int)i == guest ||
            (watch->waiters[0] == NULL && watch->waiters[1] == NULL))
            continue;
        PyObject *number = PyLong_FromSize_t(i);
        if (number == NULL || PyList_Append(list, number) < 0)
            Py_CLEAR(list);
        Py_XDECREF(number);
    }
    return list;
}

void
pn_loop_clear_watches(LoopObject *self)
{
    int guest = self->guest == NULL ? -1 : pn_guest_fd(self->guest);
    for (size_t fd = 0; fd < self->watches.count; fd++) {
        for (int writing = 0; (int)fd != guest && writing < 2; writing++) {
            PyObject *handle =
                pn_watches_remove(&self->watches, (int)fd, writing);
            Py_XDECREF(handle);
        }
    }
}

/* After this nothing can be watched. */
static PyObject *
loop_release(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopObject *self = (LoopObject *)op;
    pn_loop_clear_watches(self);
    pn_watches_free(&self->watches);
    pn_guest_free(self->guest);
    self->guest = NULL;
    Py_RETURN_NONE;
}

static PyObject *
loop_forget(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopObject *self = (LoopObject *)op;
    self->forked = true;
    pn_watches_forget(&self->watches);
    if (self->guest != NULL)
        pn_guest_forked(self->guest);
    Py_RETURN_NONE;
}

#define FAST(function) (PyCFunction)(void (*)(void)) function

PyMethodDef pn_loop_watch_methods[] = {
    {"_add_reader", FAST(loop_add_reader), METH_FASTCALL,
     PyDoc_STR("_add_reader($self, fd, callback, /, *args)\n--\n\n"
               "Call it whenever fd can be read; gives the handle.")},
    {"_add_writer", FAST(loop_add_writer), METH_FASTCALL,
     PyDoc_STR("_add_writer($self, fd, callback, /, *args)\n--\n\n"
               "Call it whenever fd can be written; gives the handle.")},
    {"_remove_reader", loop_remove_reader, METH_O,
     PyDoc_STR("_remove_reader($self, fd, /)\n--\n\n"
               "No more; whether there was a reader.")},
    {"_remove_writer", loop_remove_writer, METH_O,
     PyDoc_STR("_remove_writer($self, fd, /)\n--\n\n"
               "No more; whether there was a writer.")},
    {"_watchers", loop_watchers, METH_O,
     PyDoc_STR("_watchers($self, fd, /)\n--\n\n"
               "The handles (reader, writer) of fd; None if it has none.")},
    {"_watched", loop_watched, METH_NOARGS,
     PyDoc_STR("_watched($self, /)\n--\n\nThe descriptors watched.")},
    {"_release", loop_release, METH_NOARGS,
     PyDoc_STR("_release($self, /)\n--\n\n"
               "Watch nothing more, close the loop's own descriptors.")},
    {"_forget", loop_forget, METH_NOARGS,
     PyDoc_STR("_forget($self, /)\n--\n\n"
               "In a forked child: leave the parent's descriptors alone.")},
    {NULL, NULL, 0, NULL},
};
