#include "python/forkserver.h"

#include "base/status.h"
#include "python/error.h"
#include "sys/forkserver.h"
#include "sys/pidfd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* fork(2) between the interpreter's hooks. The child's hook runs only after
 * the engine has made it a process of its own: it may call Python. */
static pid_t
fork_interpreter(void *Py_UNUSED(context))
{
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0)
        return 0;
    int error = errno;
    PyOS_AfterFork_Parent();
    errno = error;
    return pid;
}

PyDoc_STRVAR(serve_doc,
             "forkserver_serve($module, control_fd, master_pidfd, /)\n--\n\n"
             "Serve as the fork server until the master is gone.\n\n"
             "Returns None in the server, when all children are reaped, and\n"
             "(link_fd, master_pidfd, recorder_fd, spare_fd) in each child.\n"
             "recorder_fd is -1 where none was given, spare_fd unless the\n"
             "child was forked ahead: forkserver_wait gives the rest there.\n"
             "*control_fd* is one end of the master's SOCK_SEQPACKET pair,\n"
             "*master_pidfd* may be -1.\n"
             "For a process with one thread: it holds the GIL throughout.\n"
             "Raises OSError or MemoryError if it cannot serve.");

static PyObject *
forkserver_serve(PyObject *module, PyObject *args)
{
    pn_forkserver server = {.fork = fork_interpreter};
    pn_forked child;
    if (!PyArg_ParseTuple(args, "ii:forkserver_serve", &server.control,
                          &server.master))
        return NULL;
    int err = pn_forkserver_serve(&server, &child);
    if (err == PN_FORKSERVER_CHILD) {
        PyOS_AfterFork_Child();
        return Py_BuildValue("(iiii)", child.link, server.master,
                             child.recorder, child.spare);
    }
    if (err < 0)
        return pn_raise_status(PyModule_GetState(module), err);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(wait_doc,
             "forkserver_wait($module, spare_fd, master_pidfd, /)\n--\n\n"
             "In a child that was forked ahead: block until it is needed.\n\n"
             "Returns (link_fd, recorder_fd), with standard streams in\n"
             "place, or None: it is not needed any more. Takes *spare_fd*\n"
             "over. For a process with one thread: it holds the GIL.");

static PyObject *
forkserver_wait(PyObject *Py_UNUSED(module), PyObject *args)
{
    int spare, master;
    pn_forked child;
    if (!PyArg_ParseTuple(args, "ii:forkserver_wait", &spare, &master))
        return NULL;
    if (pn_forkspare_wait(spare, master, &child) != PN_OK)
        Py_RETURN_NONE;
    return Py_BuildValue("(ii)", child.link, child.recorder);
}

PyDoc_STRVAR(exit_doc,
             "exit_process($module, code, at_once, /)\n--\n\n"
             "End the process by exit(3): what C libraries have registered\n"
             "runs, the interpreter is left as it is. *at_once*: without\n"
             "that, C streams are flushed only. Does not return.");

static PyObject *
exit_process(PyObject *Py_UNUSED(module), PyObject *args)
{
    int code, at_once;
    if (!PyArg_ParseTuple(args, "ip:exit_process", &code, &at_once))
        return NULL;
    if (!at_once)
        exit(code);
    (void)fflush(NULL);
    _exit(code);
}

PyDoc_STRVAR(open_doc,
             "pidfd_open($module, pid, /)\n--\n\n"
             "A close-on-exec descriptor of the process, readable once it\n"
             "has ended. Raises OSError.");

static PyObject *
pidfd_open(PyObject *module, PyObject *args)
{
    int pid;
    if (!PyArg_ParseTuple(args, "i:pidfd_open", &pid))
        return NULL;
    int fd = pn_pidfd_open(pid);
    if (fd < 0)
        return pn_raise_status(PyModule_GetState(module), fd);
    return PyLong_FromLong(fd);
}

PyDoc_STRVAR(send_signal_doc,
             "pidfd_send_signal($module, pidfd, pid, signal, /)\n--\n\n"
             "Signal a process by its descriptor, or by *pid* where *pidfd*\n"
             "is -1 or the system refuses. Raises ProcessLookupError if it\n"
             "was reaped, or another OSError.");

static PyObject *
pidfd_send_signal(PyObject *module, PyObject *args)
{
    int pidfd, pid, signal;
    if (!PyArg_ParseTuple(args, "iii:pidfd_send_signal", &pidfd, &pid,
                          &signal))
        return NULL;
    int err = pn_pidfd_signal(pidfd, pid, signal);
    if (err < 0)
        return pn_raise_status(PyModule_GetState(module), err);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"forkserver_serve", forkserver_serve, METH_VARARGS, serve_doc},
    {"forkserver_wait", forkserver_wait, METH_VARARGS, wait_doc},
    {"exit_process", exit_process, METH_VARARGS, exit_doc},
    {"pidfd_open", pidfd_open, METH_VARARGS, open_doc},
    {"pidfd_send_signal", pidfd_send_signal, METH_VARARGS, send_signal_doc},
    {NULL, NULL, 0, NULL},
};

int
pn_add_forkserver(PyObject *module, pn_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, functions);
}
