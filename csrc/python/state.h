/* The module's state: every heap type and every borrowed name of Python.
 * One per interpreter that imports the module; freed with the module. A file
 * of csrc/python adds its type by a member here and an entry in module.c's
 * table `types`. */
#ifndef PN_PYTHON_STATE_H
#define PN_PYTHON_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Each member is a strong reference; module.c visits and clears the struct
 * as an array of PyObject *, so it holds nothing else. */
typedef struct {
    PyObject *too_big;          /* exceptions module: MessageTooBig */
    PyObject *error;            /* exceptions module: PulsarException */
    PyObject *command_error;    /* exceptions module: CommandError */
    PyObject *protocol_error;   /* exceptions module: ProtocolError */
    PyObject *forkchannel_type; /* type ForkChannel */
    PyObject *cancelled_error;  /* asyncio.CancelledError */
    PyObject *pickle_dumps;     /* pickle.dumps, the C function */
    PyObject *protocol;         /* 5, the pickle protocol */
    PyObject *done;             /* interned names of a future's methods */
    PyObject *result;
    PyObject *set_result;
    PyObject *set_exception;
    PyObject *add_done_callback;
    PyObject *release; /* interned: memoryview.release */
    PyObject *lower;   /* interned: str.lower */
    PyObject *buffers; /* tuple: the keyword of loads */
    PyObject *future;  /* asyncio.Future, and methods of it */
    PyObject *future_add;
    PyObject *future_remove;
    PyObject *future_set_result;
    PyObject *future_set_exception;
    PyObject *future_cancel;
    PyObject *no_arguments;     /* () */
    PyObject *of_context;       /* ("context",): a keyword's name */
    PyObject *get_running_loop; /* asyncio.get_running_loop */
    PyObject *current;          /* ContextVar of the current actor's cell */
    PyObject *scope;            /* ContextVar of what an ask inherits */
    PyObject *dump_baggage;     /* () -> bytes or None; NULL: nothing goes */
    PyObject *load_baggage;     /* (bytes) -> None, in a command's context */
    PyObject *boxes;            /* dict: node -> capsule of a pn_box */
    PyObject *generation;       /* replaced in a forked child */
    PyObject *proxy_type;       /* type BaseProxy */
    PyObject *command_type;     /* type BaseCommand */
    PyObject *cell_type;        /* type Cell */
    PyObject *request_type;     /* type Request */
    PyObject *scope_type;       /* type Scope */
    PyObject *replier_type;     /* type Replier */
    PyObject *sink_type;        /* type Sink */
    PyObject *source_type;      /* type Source */
    PyObject *step_type;        /* type Step */
    PyObject *stream_type;      /* type Stream */
    PyObject *memory_type;      /* type Memory */
    PyObject *askfuture_type;   /* type AskFuture */
    PyObject *recorder_type;    /* type Recorder */
    PyObject *spinner_type;     /* type Spinner */
    PyObject *mailbox_type;     /* type Mailbox */
    PyObject *lives_type;       /* type Lives */
    PyObject *restarts_type;    /* type Restarts */
    PyObject *frame_type;       /* type Frame */
    PyObject *frameparser_type; /* type FrameParser */
    PyObject *asyncio_handle;   /* asyncio.Handle */
    PyObject *asyncio_timer;    /* asyncio.TimerHandle */
    PyObject *handle_type;      /* type Handle */
    PyObject *timer_type;       /* type TimerHandle */
    PyObject *loop_type;        /* type LoopCore */
    PyObject *report_error;     /* of _loop_words */
    PyObject *run_debugged;
    PyObject *extract_stack;
    PyObject *context_name; /* interned: context */
    PyObject *time;         /* interned: loop.time */
    PyObject *cancelled;    /* interned: handle._cancelled */
    PyObject *entropy;      /* capsule of a pn_entropy: masking keys */
} pn_state;

extern struct PyModuleDef pn_module;

/* The state of the module that defined type or a base of it. Borrowed; NULL
 * with TypeError set if type is not ours. */
static inline pn_state *
pn_state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &pn_module);
    return module == NULL ? NULL : (pn_state *)PyModule_GetState(module);
}

#endif
