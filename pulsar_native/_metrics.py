"""What actors' mailboxes tell of themselves, and how Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._context import get_actor

if TYPE_CHECKING:
    from ._native import Cell
    from .actor import Actor

__all__ = ["mailbox_info", "metrics"]

# (key of info()["mailbox"], name, type, help)
_VALUES = (
    ("queued", "queued_messages", "gauge", "Messages that wait."),
    ("bytes", "queued_bytes", "gauge", "Bytes of the payloads that wait."),
    ("in_flight", "in_flight", "gauge", "Commands under way."),
    ("oldest", "oldest_seconds", "gauge", "Age of the oldest that waits."),
    ("handled", "handled_total", "counter", "Commands begun."),
    ("failed", "failed_total", "counter", "Commands that raised."),
    ("expired", "expired_total", "counter", "Messages that came too late."),
    ("dead_letters", "dead_letters_total", "counter", "Tells that got lost."),
)
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Found = tuple[dict[str, str], dict[str, Any]]  # labels, info()["mailbox"]


def mailbox_info(cell: Cell) -> dict[str, Any]:
    """The part ``mailbox`` of an actor's ``info()``.

    Commands are told by the node's own actor, for all actors of the node.
    """
    own = cell is cell.mailbox.main
    return {
        "queued": cell.waiting,
        "bytes": cell.waiting_bytes,
        "in_flight": cell.inflight,
        "oldest": cell.oldest,
        "handled": cell.handled,
        "failed": cell.failed,
        "expired": cell.expired,
        "dead_letters": cell.dead_letters,
        "commands": _commands_of(cell) if own else {},
    }


def _commands_of(cell: Cell) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, failed, seconds, counts in cell.mailbox.commands():
        known = found.get(name)
        if known is not None:  # defined twice
            failed += known["failed"]
            seconds += known["seconds"]
            counts = list(map(sum, zip(counts, known["buckets"], strict=True)))
        found[name] = {
            "count": sum(counts),
            "failed": failed,
            "seconds": seconds,
            "buckets": counts,
        }
    return found


def metrics() -> str:
    """The metrics of all actors that the current one knows of, as text.

    That is Prometheus' text format (``text/plain; version=0.0.4``). In the
    arbiter's process: the arbiter, its coroutine actors, and its workers as
    of their last heartbeat; in another actor: itself and its coroutine
    actors. RuntimeError if there is no current actor.
    """
    actor = get_actor()
    if actor is None:
        raise RuntimeError("there is no actor here whose metrics could be")
    found = list(_mailboxes(getattr(actor, "_node", actor)))
    return "".join(f"{line}\n" for line in _lines(found))


def _mailboxes(node: Actor) -> Iterator[Found]:
    yield _labels(node.aid, node.name), mailbox_info(node._cell)
    mailbox = node._cell.mailbox
    for cell in mailbox.cells():
        proxy = node._port.proxy(cell.number)  # type: ignore[attr-defined]
        yield _labels(proxy.aid, proxy.name), mailbox_info(cell)
    for child in getattr(node, "_children", {}).values():
        told = child.info.get("mailbox")
        if told is not None:
            yield _labels(child.aid, child.name), told


def _labels(aid: str, name: str) -> dict[str, str]:
    return {"actor": aid, "name": name}


def _lines(found: list[Found]) -> Iterator[str]:
    for key, name, type, text in _VALUES:
        name = f"pulsar_native_{name}"
        yield from _head(name, type, text)
        for labels, told in found:
            yield _sample(name, labels, told[key])
    name = "pulsar_native_command_failed_total"
    yield from _head(name, "counter", "Commands that raised, by command.")
    for labels, told in found:
        for command, record in told["commands"].items():
            named = labels | {"command": command}
            yield _sample(name, named, record["failed"])
    name = "pulsar_native_command_seconds"
    yield from _head(name, "histogram", "From a command's begin to its end.")
    for labels, told in found:
        for command, record in told["commands"].items():
            yield from _histogram(name, labels | {"command": command}, record)


def _head(name: str, type: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {type}"


def _histogram(
    name: str, labels: dict[str, str], record: dict[str, Any]
) -> Iterator[str]:
    total = 0
    *counts, _ = record["buckets"]  # the last one has no bound
    for power, count in enumerate(counts):
        total += count
        bound = {"le": repr(2**power / 1e6)}
        yield _sample(f"{name}_bucket", labels | bound, total)
    endless = labels | {"le": "+Inf"}
    yield _sample(f"{name}_bucket", endless, record["count"])
    yield _sample(f"{name}_sum", labels, record["seconds"])
    yield _sample(f"{name}_count", labels, record["count"])


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    pairs = (f'{k}="{v.translate(_ESCAPES)}"' for k, v in labels.items())
    return f"{name}{{{','.join(pairs)}}} {value!r}"
