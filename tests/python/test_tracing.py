"""Context variables and traces that travel with messages."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
from actors_help import run
from tracing_variables import tenant

import pulsar_native as pn

PARENT = "00-" + 32 * "a" + "-" + 16 * "b" + "-01"


def test_a_variable_travels_and_goes_on_with_nested_asks() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        assert await pn.send(one, "read_tenant") == "none"
        token = tenant.set("acme")
        assert await pn.send(one, "read_tenant") == "acme"
        assert await pn.send(one, "read_tenant_of", other) == "acme"
        assert await pn.send("arbiter", "read_tenant") == "acme"
        tenant.reset(token)
        assert await pn.send(one, "read_tenant") == "none"

    run(main)


def test_too_much_baggage_is_refused_with_the_limit() -> None:
    async def main() -> None:
        token = tenant.set("x" * 3000)
        try:
            with pytest.raises(ValueError, match="2048 bytes"):
                pn.send("arbiter", "ping")
        finally:
            tenant.reset(token)
        assert await pn.send("arbiter", "ping") == "pong"

    run(main)


def test_only_variables_of_other_names_can_be_added() -> None:
    with pytest.raises(ValueError, match=r"tests\.tenant"):
        pn.propagate(ContextVar("tests.tenant"))
    not_a_variable: Any = "tenant"
    with pytest.raises(TypeError, match="tenant"):
        pn.propagate(not_a_variable)
    pn.propagate(tenant)


def test_a_trace_travels_without_opentelemetry() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        assert await pn.send(one, "read_trace") == {}
        with pn.trace_context(PARENT, "vendor=1"):
            expected = {"traceparent": PARENT, "tracestate": "vendor=1"}
            assert pn.current_trace() == expected
            assert await pn.send(one, "read_trace") == expected
            assert await pn.send(one, "read_trace_of", other) == expected
        assert await pn.send(one, "read_trace") == {}

    run(main)


@pytest.mark.parametrize(
    "text", ["", "00-1-2-3", PARENT.upper(), "ff" + PARENT[2:], PARENT + "-"]
)
def test_what_is_no_traceparent_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="traceparent"):
        pn.trace_context(text)


def test_a_span_of_opentelemetry_travels() -> None:
    trace = pytest.importorskip("opentelemetry.trace")

    async def main() -> None:
        context = trace.SpanContext(
            trace_id=0xA1, span_id=0xB2, is_remote=False, trace_flags=1
        )
        worker = await pn.spawn()
        with trace.use_span(trace.NonRecordingSpan(context)):
            assert await pn.send(worker, "read_span") == (0xA1, 0xB2)
            carried = await pn.send(worker, "read_trace")
        assert carried["traceparent"].split("-")[1] == f"{0xA1:032x}"

    run(main)
