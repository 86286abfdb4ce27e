/* pulsar_native._native: multi-phase init, all state in pn_state. */
#include "python/askfuture.h"
#include "python/cell.h"
#include "python/command.h"
#include "python/down.h"
#include "python/forkchannel.h"
#include "python/forkserver.h"
#include "python/frame.h"
#include "python/frameparser.h"
#include "python/handle.h"
#include "python/immortal.h"
#include "python/lives.h"
#include "python/loop.h"
#include "python/mailbox_type.h"
#include "python/memory.h"
#include "python/parcel.h"
#include "python/plain.h"
#include "python/proxy.h"
#include "python/recorder.h"
#include "python/replier.h"
#include "python/request.h"
#include "python/restarts.h"
#include "python/scope.h"
#include "python/sink.h"
#include "python/source.h"
#include "python/spinner.h"
#include "python/state.h"
#include "python/stream.h"
#include "python/system.h"
#include "python/websocket.h"

#include <stddef.h>

/* What is looked up in Python modules once, at import. */
typedef struct {
    size_t offset;
    const char *module;
    const char *name;
} borrowed_name;

#define FROM(member, module_, name_)                                          \
    {                                                                         \
        offsetof(pn_state, member), module_, name_                            \
    }

static const borrowed_name borrowed[] = {
    FROM(error, "pulsar_native.exceptions", "PulsarException"),
    FROM(too_big, "pulsar_native.exceptions", "MessageTooBig"),
    FROM(command_error, "pulsar_native.exceptions", "CommandError"),
    FROM(protocol_error, "pulsar_native.exceptions", "ProtocolError"),
    FROM(cancelled_error, "asyncio", "CancelledError"),
    FROM(get_running_loop, "asyncio", "get_running_loop"),
    FROM(future, "asyncio", "Future"),
    FROM(pickle_dumps, "pickle", "dumps"),
    FROM(protocol, "pickle", "HIGHEST_PROTOCOL"),
    FROM(asyncio_handle, "asyncio.events", "Handle"),
    FROM(asyncio_timer, "asyncio.events", "TimerHandle"),
    FROM(report_error, "pulsar_native._loop_words", "report_error"),
    FROM(run_debugged, "pulsar_native._loop_words", "run_debugged"),
    FROM(extract_stack, "pulsar_native._loop_words", "extract_stack"),
};

/* What the files of this room add, in that order: heap types, which the state
 * keeps, and functions, each under its public name. */
typedef int (*add_type)(PyObject *module, pn_state *state);

static const add_type types[] = {
    pn_add_forkserver,
    pn_add_immortal,
    pn_add_forkchannel,
    pn_add_command,
    pn_add_proxy,
    pn_add_cell,
    pn_add_request,
    pn_add_scope,
    pn_add_replier,
    pn_add_recorder,
    pn_add_mailbox,
    pn_add_spinner,
    pn_add_frame,
    pn_add_frameparser,
    pn_add_websocket,
    pn_add_down,
    pn_add_plain,
    pn_add_memory,
    pn_add_parcel,
    pn_add_askfuture,
    pn_add_sink,
    pn_add_source,
    pn_add_stream,
    pn_add_system,
    pn_add_restarts,
    pn_add_lives,
    pn_add_handle,
    pn_add_loop,
    NULL,
};

/* Names of methods that are called often. */
static int
intern_names(pn_state *state)
{
    PyObject **members[] = {&state->done,       &state->result,
                            &state->set_result, &state->set_exception,
                            &state->lower,      &state->add_done_callback,
                            &state->release,    &state->time,
                            &state->cancelled,  &state->context_name};
    const char *const names[] = {"done",       "result",
                                 "set_result", "set_exception",
                                 "lower",      "add_done_callback",
                                 "release",    "time",
                                 "_cancelled", "context"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *members[i] = PyUnicode_InternFromString(names[i]);
        if (*members[i] == NULL)
            return -1;
    }
    state->buffers = Py_BuildValue("(s)", "buffers");
    return state->buffers == NULL ? -1 : 0;
}

static int
borrow_names(pn_state *state)
{
    for (size_t i = 0; i < sizeof borrowed / sizeof *borrowed; i++) {
        PyObject *module = PyImport_ImportModule(borrowed[i].module);
        if (module == NULL)
            return -1;
        PyObject *value = PyObject_GetAttrString(module, borrowed[i].name);
        Py_DECREF(module);
        if (value == NULL)
            return -1;
        *(PyObject **)((char *)state + borrowed[i].offset) = value;
    }
    return 0;
}

static int
module_exec(PyObject *module)
{
    pn_state *state = PyModule_GetState(module);
    if (intern_names(state) < 0 || borrow_names(state) < 0)
        return -1;
    for (size_t i = 0; types[i] != NULL; i++) {
        if (types[i](module, state) < 0)
            return -1;
    }
    return 0;
}

static PyObject **
members(PyObject *module)
{
    return (PyObject **)PyModule_GetState(module);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    PyObject **member = members(module);
    for (size_t i = 0; i < sizeof(pn_state) / sizeof(PyObject *); i++)
        Py_VISIT(member[i]);
    return 0;
}

static int
module_clear(PyObject *module)
{
    PyObject **member = members(module);
    for (size_t i = 0; i < sizeof(pn_state) / sizeof(PyObject *); i++)
        Py_CLEAR(member[i]);
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear((PyObject *)module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

PyDoc_STRVAR(module_doc, "The native core of pulsar_native.");

struct PyModuleDef pn_module = {
    PyModuleDef_HEAD_INIT,   .m_name = "pulsar_native._native",
    .m_doc = module_doc,     .m_size = sizeof(pn_state),
    .m_slots = module_slots, .m_traverse = module_traverse,
    .m_clear = module_clear, .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&pn_module);
}
