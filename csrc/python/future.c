#include "python/future.h"

int
pn_future_is_done(pn_state *state, PyObject *future)
{
    PyObject *done = PyObject_CallMethodNoArgs(future, state->done);
    if (done == NULL)
        return -1;
    int truth = PyObject_IsTrue(done);
    Py_DECREF(done);
    return truth;
}

PyObject *
pn_take_exception(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value != NULL && traceback != NULL)
        (void)PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

int
pn_future_resolve(pn_state *state, PyObject *future, bool failed,
                  PyObject *value)
{
    int done = pn_future_is_done(state, future);
    if (done != 0)
        return done < 0 ? -1 : 0;
    PyObject *method = failed ? state->set_exception : state->set_result;
    PyObject *result = PyObject_CallMethodOneArg(future, method, value);
    if (result == NULL) {
        PyObject *refusal = pn_take_exception();
        result =
            PyObject_CallMethodOneArg(future, state->set_exception, refusal);
        Py_XDECREF(refusal);
    }
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    return 0;
}
