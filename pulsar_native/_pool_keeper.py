"""What keeps a pool: its size, its reloads, the limits of its workers."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ._children import Child, Recipe
from ._scope import deadline
from .messages import send
from .proxy import ActorProxy, aid_of

if TYPE_CHECKING:
    from ._down import Down
    from .role import Role
    from .supervisor import Supervisor

__all__ = [
    "Keeper",
    "Limits",
    "Member",
    "ask_node",
    "find_keeper",
    "take_limits",
]

_PERIOD = 1.0  # seconds between two looks at memory and age, at most
_JITTER = 0.2  # a limit is reached by that part earlier, at most
_HUGE = 2**63
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_IN_PROCESS = frozenset({"thread", "coroutine"})

logger = logging.getLogger("pulsar_native.pool")

_ids = itertools.count(1)
_keepers: WeakValueDictionary[tuple[int, int], Keeper] = WeakValueDictionary()


@dataclass(frozen=True)
class Limits:
    """After what a worker is replaced; None: never."""

    requests: int | None = None
    memory: int | None = None  # bytes of resident memory
    age: float | None = None  # seconds


_NONE = Limits()


def take_limits(params: dict[str, Any]) -> Limits:
    """Those among what a pool is spawned with, taken out of it."""
    requests = params.pop("max_requests", None)
    memory = params.pop("max_memory", None)
    age = params.pop("max_age", None)
    for name, value, kinds in (
        ("max_requests", requests, int),
        ("max_memory", memory, int),
        ("max_age", age, int | float),
    ):
        if value is None:
            continue
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise TypeError(f"{name} is a number, not {value!r}")
        if not 0 < value < _HUGE:
            raise ValueError(
                f"{name} is more than 0 and less than 2**63, not {value!r}"
            )
    if memory is not None and params.get("kind") in _IN_PROCESS:
        raise ValueError("max_memory is for workers in processes of their own")
    return Limits(requests, memory, age)


class Member:
    """One worker of a pool, as whoever sends to it sees it.

    *slot* tells it from others of the pool, for its keys and its name.
    """

    __slots__ = (
        "born",
        "child",
        "load",
        "lock",
        "pid",
        "renewing",
        "role",
        "sent",
        "share",
        "slot",
    )

    def __init__(self, role: Role[Any], slot: int) -> None:
        self.role = role
        self.slot = slot
        self.load = 0  # asks that are not answered
        self.sent = 0  # to its actor of now
        self.child: Child | None = None
        self.born = 0.0
        self.share = 1.0  # of the limits that its actor of now has
        self.pid: int | None = None
        self.renewing = False
        self.lock: asyncio.Lock | None = None

    def alone(self) -> asyncio.Lock:
        """For who stops or replaces it."""
        if self.lock is None:
            self.lock = asyncio.Lock()
        return self.lock

    def answered(self, future: asyncio.Future[Any]) -> None:
        """An ask of it is done."""
        self.load -= 1


class Keeper:
    """Of one pool, where its supervisor is; for the thread of its loop."""

    def __init__(
        self,
        supervisor: Supervisor,
        recipe: Recipe,
        name: str | None,
        limits: Limits,
    ) -> None:
        self.supervisor = supervisor
        self.name = name
        self.members: list[Member] = []  # by slot
        self.key = supervisor._node.number, next(_ids)
        self._recipe = recipe
        self._limits = limits
        self._leaving: set[int] = set()  # slots of those that drain
        self._sizing = asyncio.Lock()
        self._renewing = asyncio.Lock()
        self._aside: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._fallen = False  # some may have ended for good
        _keepers[self.key] = self

    async def grow(self, count: int) -> None:
        """Start so many more, all or none."""
        taken = {member.slot for member in self.members} | self._leaving
        free = (slot for slot in itertools.count() if slot not in taken)
        slots = list(itertools.islice(free, count))
        supervisor = self.supervisor
        children = [
            Child(
                supervisor,
                self._recipe,
                f"{self.name}-{s}" if self.name else "",
            )
            for s in slots
        ]
        await supervisor._start_first(children, self._first)
        for slot, child in zip(slots, children, strict=True):
            member = Member(child.role, slot)
            member.child = child
            child.on_down = self._on_down
            if self._limits != _NONE:
                child.on_up = functools.partial(self._begins, member)
                self._begins(member, child)
            self.members.append(member)
        self.members.sort(key=lambda member: member.slot)
        self._look_later()

    def _first(self) -> int:
        """The id of one beside whom others start, in the order of children;
        0 without one."""
        for member in self.members:
            if member.child is not None and member.child.state != "ended":
                return member.child.id
        return 0

    def _on_down(self, child: Child, down: Down) -> None:
        self._fallen = True

    def prune(self) -> None:
        """Forget those that will have no successor."""
        if self._fallen:
            left = [m for m in self.members if m.role.state != "ended"]
            self._fallen = any(m.role.state == "away" for m in left)
            self.members[:] = left

    # --- what the program asks for ---

    async def scale(self, count: int) -> None:
        """Have so many; wait until those are up, or the others down. If that
        is cancelled the others go nevertheless: they are in it no more."""
        self.supervisor.check_thread()
        async with self._sizing:
            self.prune()
            leaving = self.members[count:]
            del self.members[count:]
            self._leaving.update(member.slot for member in leaving)
            if count > len(self.members):
                await self.grow(count - len(self.members))
        stops = [asyncio.ensure_future(self._stop(m)) for m in leaving]
        for stop in stops:
            self._aside.add(stop)
            stop.add_done_callback(self._aside.discard)
        gathered = asyncio.gather(*stops, return_exceptions=True)
        for done in await asyncio.shield(gathered):
            if done is not None:
                raise done

    async def _stop(self, member: Member) -> None:
        assert member.child is not None
        try:
            async with member.alone():
                if member.child.proxy is not None:
                    await self._settle(member, member.child.proxy)
                await member.child.stop()
        finally:
            self._leaving.discard(member.slot)

    async def reload(self) -> None:
        """Replace each, one after the other."""
        self.supervisor.check_thread()
        for member in list(self.members):
            async with self._renewing:
                await self._replace(member)

    async def _replace(self, member: Member) -> None:
        child = member.child
        assert child is not None
        async with member.alone():
            if member in self.members and self._is_open():
                await child.replace(functools.partial(self._settle, member))

    async def _settle(self, member: Member, former: ActorProxy[Any]) -> None:
        """Wait until all that others have sent to it has come there: it is
        going to drain, and refuses what comes later."""
        node = self.supervisor._node
        _, id = member.role._key
        slot = None if member in self.members else member.slot
        asked = [
            ask_node(number, "_pool_settle", *self.key, slot, former)
            for number in node._roles.followers(id)
        ]
        if asked:
            await asyncio.wait(asked, timeout=node.cfg.drain_timeout)
        for future in asked:
            if not future.cancel() and not future.cancelled():
                future.exception()

    def is_root(self) -> bool:
        """Whether its workers are managed by the very actor of its
        supervisor."""
        return self.supervisor._node.is_arbiter()

    def _is_open(self) -> bool:
        return self.supervisor.state in ("open", "restarting")

    # --- limits ---

    def _begins(self, member: Member, child: Child) -> None:
        """It has another actor."""
        member.sent = 0
        member.born = self.supervisor._loop.time()
        member.share = 1 - _JITTER * random.random()
        member.pid = getattr(child.proxy, "pid", None)
        if member.pid is None and self._limits.memory is not None:
            asked = send(member.role, "info")
            asked.add_done_callback(functools.partial(_learn_pid, member))

    def count(self, member: Member) -> None:
        """It has got an ask."""
        limit = self._limits.requests
        if limit is not None and member.sent >= limit * member.share:
            self._renew(member)

    def _look_later(self) -> None:
        """See to it that memory and age are looked at."""
        limits = self._limits
        if self._timer is not None:
            return
        if limits.age is not None or limits.memory is not None:
            period = min(_PERIOD, (limits.age or _PERIOD) / 4)
            self._timer = self.supervisor._loop.call_later(period, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._is_open():
            return
        self.prune()
        age, memory = self._limits.age, self._limits.memory
        now = self.supervisor._loop.time()
        for member in self.members:
            old = age is not None and now - member.born >= age * member.share
            if old or (
                memory is not None
                and resident(member.pid) >= memory * member.share
            ):
                self._renew(member)
        if self.members:
            self._look_later()

    def _renew(self, member: Member) -> None:
        """Replace it, once it is its turn."""
        if member.renewing or not self._is_open():
            return
        member.renewing = True
        loop = self.supervisor._loop
        context = self.supervisor._node._context.copy()
        task = loop.create_task(self._renewal(member), context=context)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _renewal(self, member: Member) -> None:
        generation = member.role.generation
        try:
            async with self._renewing:
                if member.role.generation == generation:
                    await self._replace(member)
        except Exception as error:
            logger.warning("%r could not be replaced: %s", member.role, error)
            await asyncio.sleep(_PERIOD)
        finally:
            member.renewing = False


def find_keeper(node: int, id: int) -> Keeper | None:
    """That of a pool in this process."""
    return _keepers.get((node, id))


def ask_node(node: int, command: str, *args: Any) -> asyncio.Future[Any]:
    """Ask the actor whose loop is that node, without a deadline."""
    with deadline(None):
        return send(ActorProxy(aid_of(node), "actor", node), command, *args)


def resident(pid: int | None) -> int:
    """Bytes of memory that a process has; 0 if that is not known."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def _learn_pid(member: Member, asked: asyncio.Future[Any]) -> None:
    if not asked.cancelled() and asked.exception() is None:
        member.pid = asked.result()["actor"]["process_id"]
