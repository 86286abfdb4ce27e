"""A module that registers a context variable, for test_tracing.py."""

from contextvars import ContextVar
from typing import Any

import pulsar_native as pn

tenant: ContextVar[str] = ContextVar("tests.tenant")
pn.propagate(tenant)


@pn.command()
def read_tenant(request: Any) -> str:
    return tenant.get("none")


@pn.command()
async def read_tenant_of(request: Any, other: Any) -> Any:
    return await pn.send(other, "read_tenant")


@pn.command()
def read_trace(request: Any) -> dict[str, str]:
    return pn.current_trace()


@pn.command()
async def read_trace_of(request: Any, other: Any) -> Any:
    return await pn.send(other, "read_trace")


@pn.command()
def read_span(request: Any) -> tuple[int, int]:
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return context.trace_id, context.span_id
