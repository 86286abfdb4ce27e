/* The type Recorder: a pn_recorder, of this process or of another. */
#ifndef PN_PYTHON_RECORDER_H
#define PN_PYTHON_RECORDER_H

#include "python/state.h"
#include "sys/recorder.h"

/* The recorder of a Recorder, borrowed; NULL with TypeError if op is none. */
pn_recorder *pn_recorder_of(pn_state *state, PyObject *op);

int pn_add_recorder(PyObject *module, pn_state *state);

#endif
