"""What of a caller's context travels with its messages.

Context variables that the program names with ``propagate``, and the W3C trace
context: that of OpenTelemetry where it is installed and imported, else the one
that ``trace_context`` sets. Nothing travels, and nothing is looked at, before
one of them is used.
"""

from __future__ import annotations

import importlib.util
import pickle
import re
import sys
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

from . import _pickling
from ._native import set_baggage
from ._variables import strangers, variable_of, variables

__all__ = ["current_trace", "propagate", "trace_context"]

_trace: ContextVar[dict[str, str]] = ContextVar("pulsar_native.trace")

_OPENTELEMETRY = "opentelemetry"

# https://www.w3.org/TR/trace-context/, version 00.
_TRACEPARENT = re.compile(
    "(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def propagate(*chosen: ContextVar[Any]) -> None:
    """Let these context variables travel with every message that is sent.

    In the command that a message runs they have the values that they had
    where it was sent, and so in what that command asks in its turn; variables
    that are not set do not travel. Variables are matched by their names, so a
    module that both sides import calls this beside its variables. Values are
    pickled; together they, and a trace, may take 2,048 bytes: ``send`` raises
    ValueError beyond.

    Raises TypeError for what is no ContextVar, ValueError for a name that
    another variable has.
    """
    for variable in chosen:
        if not isinstance(variable, ContextVar):
            raise TypeError(f"{variable!r} is no ContextVar")
        known = variables.get(variable.name, variable)
        if known is not variable and variable.name not in strangers:
            raise ValueError(
                f"another variable that travels is called {variable.name!r}"
            )
        variables[variable.name] = variable
        if known is not variable:
            strangers.discard(variable.name)
            _hand_over(known, variable)
    _start()


def _hand_over(stranger: ContextVar[Any], variable: ContextVar[Any]) -> None:
    """Its module was imported by the very command that it travelled to."""
    nothing = object()
    value = stranger.get(nothing)
    if value is not nothing:
        variable.set(value)


class trace_context:
    """Within it, messages carry this W3C trace context.

    with pn.trace_context("00-" + 32 * "a" + "-" + 16 * "b" + "-01"):
        await pn.send(worker, "step")

    *traceparent* and *tracestate* are the headers of these names. With
    OpenTelemetry installed and imported, its current span is used instead.

    Raises ValueError for a traceparent that is none.
    """

    def __init__(self, traceparent: str, tracestate: str = "") -> None:
        if not _TRACEPARENT.fullmatch(traceparent):
            raise ValueError(f"no traceparent: {traceparent!r}")
        self._carrier = {"traceparent": traceparent}
        if tracestate:
            self._carrier["tracestate"] = tracestate
        self._tokens: list[Token[dict[str, str]]] = []

    def __enter__(self) -> trace_context:
        _start()
        self._tokens.append(_trace.set(self._carrier))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _trace.reset(self._tokens.pop())


def current_trace() -> dict[str, str]:
    """The trace context here, as headers by name; empty if there is none."""
    carrier: dict[str, str] = {}
    telemetry = _telemetry()
    if telemetry is not None:
        telemetry.inject(carrier)
    return carrier or dict(_trace.get({}))


# --- packing ---


def notice_telemetry() -> None:
    """Let traces travel if the program has imported OpenTelemetry."""
    if f"{_OPENTELEMETRY}.trace" in sys.modules:
        _start()


def _telemetry() -> Any:
    """OpenTelemetry's propagators, if the program has imported it."""
    if f"{_OPENTELEMETRY}.trace" not in sys.modules:
        return None
    return importlib.import_module(f"{_OPENTELEMETRY}.propagate")


def _dump() -> bytes | None:
    nothing = object()
    values = {}
    for name, variable in variables.items():
        value = variable.get(nothing)
        if value is not nothing:
            values[name] = value
    carrier = current_trace()
    if not values and not carrier:
        return None
    packed = _pickling.dumps(values) if values else b""
    return pickle.dumps((carrier, packed), 5)


def _load(data: bytes) -> None:
    carrier, packed = pickle.loads(data)
    if packed:
        for name, value in _pickling.loads(packed).items():
            variable_of(name).set(value)
    if carrier:
        _trace.set(carrier)
        _attach(carrier)
    set_baggage(_dump, _load)  # what came goes on with what is asked here


def _attach(carrier: dict[str, str]) -> None:
    """Make it OpenTelemetry's current context, if that is installed."""
    if importlib.util.find_spec(_OPENTELEMETRY) is None:
        return
    context = importlib.import_module(f"{_OPENTELEMETRY}.context")
    propagators = importlib.import_module(f"{_OPENTELEMETRY}.propagate")
    importlib.import_module(f"{_OPENTELEMETRY}.trace")
    context.attach(propagators.extract(carrier))


def _start() -> None:
    set_baggage(_dump, _load)


set_baggage(None, _load)
