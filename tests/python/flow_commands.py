"""Commands of actors whose messages wait: at a gate, for each other.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pulsar_native as pn


class Gate:
    """What an actor's commands wait for, and who has come by."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.begun: list[Any] = []
        self.inside = 0
        self.most = 0
        self.peak = 0


def gate_of(actor: Any) -> Gate:
    if not hasattr(actor, "gate"):
        actor.gate = Gate()
    found: Gate = actor.gate
    return found


@pn.command()
async def pass_gate(request: Any, what: Any = None) -> Any:
    """Begin, wait until the gate is open, end."""
    gate = gate_of(request.actor)
    gate.begun.append(what)
    gate.inside += 1
    gate.most = max(gate.most, gate.inside)
    try:
        await gate.opened.wait()
        return what
    finally:
        gate.inside -= 1


@pn.command()
def note(request: Any, what: Any) -> Any:
    """Begin and end."""
    gate_of(request.actor).begun.append(what)
    return what


@pn.command()
async def note_slowly(request: Any, what: Any) -> Any:
    """Begin, and end an iteration later."""
    gate = gate_of(request.actor)
    gate.begun.append(what)
    gate.inside += 1
    gate.most = max(gate.most, gate.inside)
    await asyncio.sleep(0)
    gate.inside -= 1
    return what


@pn.command()
async def nested(request: Any, depth: int) -> int:
    """Ask oneself, so deep."""
    if depth == 0:
        return 0
    deeper: int = await pn.send(request.actor, "nested", depth - 1)
    return 1 + deeper


@pn.command()
async def along(request: Any, way: list[Any]) -> list[str]:
    """Ask the first on the way to ask the next, and so on."""
    here = [request.actor.aid]
    return here + (await pn.send(way[0], "along", way[1:]) if way else [])


@pn.command()
async def tell_oneself(request: Any, command: str, *args: Any) -> None:
    """And wait until that is on its way."""
    await pn.tell(request.actor, command, *args)


@pn.command()
async def ask_gate(request: Any, target: Any) -> Any:
    """Ask another actor what it does not answer while the gate is closed."""
    return await pn.send(target, "pass_gate")


@pn.command()
async def ask_gate_long(request: Any, target: Any) -> list[Any]:
    """The same with deadlines of one's own."""
    with pn.deadline(0.01):
        try:
            await pn.send(target, "pass_gate")
        except pn.AskTimeout as error:
            found: list[Any] = [type(error).__name__]
    with pn.deadline(None):
        asked = pn.send(target, "pass_gate")
    await asyncio.wait([asked], timeout=0.1)
    found.append(not asked.done())
    asked.cancel()
    return found


@pn.command()
async def watch(request: Any) -> None:
    """Note how many messages wait, until cancelled."""
    gate, cell = gate_of(request.actor), request.actor._cell
    while True:
        gate.peak = max(gate.peak, cell.waiting)
        await asyncio.sleep(0)


@pn.command()
async def ask_back(request: Any, command: str, *args: Any) -> str:
    """Ask the caller; what becomes of that."""
    try:
        return str(await pn.send(request.caller, command, *args))
    except Exception as error:
        return type(error).__name__


@pn.command()
async def ask_with_flood(request: Any, other: Any) -> list[Any]:
    """Have another actor fill this one's mailbox, then ask back."""
    await pn.send(other, "fill", request.actor.proxy)
    found = await pn.send(other, "ask_back", "note", "back")
    return [found, True]


@pn.command()
async def fill(request: Any, target: Any) -> None:
    """Send until one is parked."""
    mailbox = request.actor.mailbox
    while not mailbox.stats()["parked"]:
        pn.tell(target, "note", "filling")
        await asyncio.sleep(0)


@pn.command()
async def flood(request: Any, target: Any, count: int) -> dict[str, int]:
    """Ask until one is parked, then that many times at once; how often what
    came of it, and how many were parked."""
    asked, mailbox = [], request.actor.mailbox
    while not mailbox.stats()["parked"]:
        asked.append(pn.send(target, "note", len(asked)))
        await asyncio.sleep(0)
    for _ in range(count):
        asked.append(pn.send(target, "note", len(asked)))
    found = Counter({"parked": 0})
    for future in asked:
        found["parked"] = max(found["parked"], mailbox.stats()["parked"])
        try:
            await future
            found["done"] += 1
        except Exception as error:
            found[type(error).__name__] += 1
    return dict(found)


@pn.command()
async def burst(request: Any, target: Any, count: int) -> int:
    """Ask that many times at once; how many were answered."""
    asked = [pn.send(target, "note", n) for n in range(count)]
    return len(await asyncio.gather(*asked))


@pn.command()
async def spawn_one(request: Any) -> Any:
    return await pn.spawn()


# --- for the command ``run`` ---


def open_gate(actor: Any) -> None:
    gate_of(actor).opened.set()


def begun(actor: Any) -> list[Any]:
    return list(gate_of(actor).begun)


def most(actor: Any) -> int:
    """How many were under way at once."""
    return gate_of(actor).most


def peak(actor: Any) -> int:
    """How many messages have waited at once."""
    return gate_of(actor).peak


def dead_letters(actor: Any) -> int:
    found: int = actor._cell.dead_letters
    return found


async def until_parked(actor: Any) -> None:
    """Wait until something is parked here."""
    while not actor.mailbox.stats()["parked"]:
        await asyncio.sleep(0.001)


def counts(actor: Any) -> tuple[int, int]:
    """How many are under way, and how many wait."""
    cell = actor._cell
    return cell.inflight, cell.waiting


def until_idle(actor: Any) -> Any:
    """Wait until nothing else is under way."""
    return actor._create_task(_until_idle(actor))


async def _until_idle(actor: Any) -> None:
    while actor._cell.inflight > 1:  # this one
        await asyncio.sleep(0.001)


async def open_gate_and_look(actor: Any, count: int) -> tuple[int, int]:
    """Open the gate once so many messages wait; how many iterations the loop
    makes until none does, and how many are run in the fullest of them."""
    cell = actor._cell
    while cell.waiting < count:
        await asyncio.sleep(0)
    open_gate(actor)
    iterations, most, before = 0, 0, cell.handled
    while cell.waiting:
        await asyncio.sleep(0)
        iterations += 1
        most = max(most, cell.handled - before)
        before = cell.handled
    return iterations, most


async def lift_limit(actor: Any, waiting: int) -> None:
    """Take the limit away once so many messages wait."""
    while actor._cell.waiting < waiting:
        await asyncio.sleep(0)
    actor._cell.limit(max_inflight=0)
