"""Commands with serializers of their own; imported by actors too."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pulsar_native as pn


class Json:
    """What JSON knows, and nothing else; it counts what it does."""

    def __init__(self) -> None:
        self.dumped = self.loaded = 0

    def dumps(self, value: Any) -> bytes:
        self.dumped += 1
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        assert type(data) is bytes
        self.loaded += 1
        return json.loads(data)


class Bad:
    """Fails where it is told to."""

    def dumps(self, value: Any) -> bytes:
        if value == "no dumps":
            raise LookupError("cannot dump")
        if value == "no bytes":
            return "text"  # type: ignore[return-value]
        return repr(value).encode()

    def loads(self, data: bytes) -> Any:
        if data == b"'no loads'":
            raise LookupError("cannot load")
        return data.decode().strip("'")


JSON = Json()


@pn.command(serializer=JSON)
def by_json(request: Any, *args: Any, **kwargs: Any) -> Any:
    """Tuples arrive as lists, which shows who has carried them."""
    return [args, kwargs]


@pn.command(serializer=JSON)
async def by_json_later(request: Any, value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@pn.command(serializer=JSON, ack=False)
def json_tell(request: Any, value: Any) -> None:
    request.actor.extra["told"] = value


@pn.command(serializer=JSON, thread=True)
def by_json_in_thread(request: Any, value: Any) -> Any:
    return [value, threading.current_thread() is threading.main_thread()]


@pn.command()
def told(request: Any) -> Any:
    return request.actor.extra.get("told")


@pn.command()
def counts(request: Any) -> tuple[int, int]:
    return JSON.dumped, JSON.loaded


@pn.command(serializer=Bad())
def by_bad(request: Any, value: Any = None, answer: Any = "fine") -> Any:
    return answer


class Counter:
    """An object whose method has a serializer."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @pn.command(serializer=JSON)
    def add(self, value: Any) -> Any:
        self.seen.append(value)
        return tuple(self.seen)


async def ask_by_name(actor: Any, target: Any, name: str, *args: Any) -> Any:
    """Ask from an actor that knows nothing of the command."""
    return await pn.send(target, name, *args)
