"""The end of an actor: the report of it, and the reports that are kept."""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

from ._native import dump_down, load_down
from .exceptions import ActorDown
from .proxy import node_of

__all__ = ["Down", "Ends", "first_line"]

_KEPT = 1000  # ends that are remembered
_KEPT_WHOLE = 32  # the latest of them, with all that was told
_BRIEF = 1024  # characters of output that are kept of the others
_TOLD = 4096  # characters of each text that go to whoever talked with it


@dataclass(frozen=True, slots=True)
class Down:
    """How an actor ended.

    *reason* is one sentence. *exit_code* is that of its process, or what a
    thread or coroutine actor ended with, None if a signal ended it or it is
    not known; *signal* is the signal's number, or None. *core*: whether the
    kernel says that it dumped one. *oom*: whether the kernel killed it for
    want of memory, None where that cannot be read.

    *stderr* is the last of what its process wrote to standard error, at most
    8 KiB; *traceback* the text of the Python traceback that ended it, *stacks*
    that of all its threads when it was found hung, or at a deadline that cost
    its process, *flight* its last records; each is empty if there is none.
    *uptime* is in seconds, from its spawn on; *when*, the time of the report,
    in epoch seconds. *begun*: the asks that had begun, and were not answered,
    as pairs of the asking actor's number and the ask's; None if that is not
    known: it is of a process that ended within a command that may cost it.
    """

    aid: str
    name: str
    number: int
    reason: str
    exit_code: int | None = None
    signal: int | None = None
    core: bool = False
    oom: bool | None = False
    stderr: str = ""
    traceback: str = ""
    stacks: str = ""
    flight: tuple[Any, ...] = ()
    uptime: float = 0.0
    when: float = dataclasses.field(default_factory=time.time)
    begun: tuple[tuple[int, int], ...] | None = dataclasses.field(
        default=None, repr=False
    )

    def error(self, ask: int = 0, node: int = 0) -> ActorDown:
        """The exception of those who waited for its answers; *ask* is the
        number of that, at *node* (0: the only one that *begun* tells of)."""
        begun = None
        if ask and self.begun is not None:
            begun = ask in self._begun_of(node)
        return ActorDown(
            self.aid,
            self.reason,
            self.exit_code,
            self.signal,
            self.core,
            self.oom,
            _last(self.stderr, _TOLD),
            _last(self.traceback, _TOLD),
            begun,
        )

    def _begun_of(self, node: int) -> list[int]:
        """The asks of that node that had begun; node 0: all."""
        return [
            id
            for source, id in self.begun or ()
            if not node or node_of(source) == node
        ]

    def dump(self, limit: int, node: int = 0) -> bytes:
        """What DOWN tells of it to *node*: what ``error`` has but the aid;
        less of it if that takes at most *limit* bytes."""
        told = _TOLD if limit >= 16 * _TOLD else 0  # a character has 4 bytes
        return dump_down(
            self.reason[: _TOLD if told else 64],
            self.exit_code,
            self.signal,
            self.core,
            self.oom,
            _last(self.stderr, told),
            _last(self.traceback, told),
            None if self.begun is None else self._begun_of(node),
        )

    @classmethod
    def load(cls, payload: bytes, aid: str, name: str, number: int) -> Down:
        """What was dumped, of that actor."""
        reason, code, signal, core, oom, output, text, begun = load_down(
            payload
        )
        line, traceback = first_line(reason)
        return cls(
            aid,
            name,
            number,
            line,
            code,
            signal,
            core,
            oom,
            output,
            text or traceback,
            begun=None if begun is None else tuple((0, id) for id in begun),
        )

    def of(self, aid: str, name: str, number: int) -> Down:
        """The same end, of an actor that lived in this one's node."""
        return dataclasses.replace(self, aid=aid, name=name, number=number)

    def brief(self) -> Down:
        """The same, without what takes much memory."""
        return dataclasses.replace(
            self, stderr=self.stderr[-_BRIEF:], stacks="", flight=()
        )


class Ends:
    """The latest ends that an actor knows of, by number, aid and name.

    Of a thousand, and of all but the latest of these in brief.
    """

    def __init__(self) -> None:
        # Each with the texts that lead to it.
        self._kept: OrderedDict[int, tuple[Down, list[str]]] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self._whole: deque[int] = deque()

    def get(self, key: int | str) -> Down | None:
        """How the actor of that number, aid or name ended last."""
        number = self._numbers.get(key) if isinstance(key, str) else key
        found = None if number is None else self._kept.get(number)
        return None if found is None else found[0]

    def keep(self, down: Down, *names: str) -> None:
        """Remember an end; *names* are those that led to the actor."""
        number = down.number
        _, known = self._kept.pop(number, (None, []))
        texts = list({down.aid, *names, *known})
        self._kept[number] = down, texts
        for text in texts:
            self._numbers[text] = number
        if down.stderr or down.stacks or down.flight:
            self._whole.append(number)
            if len(self._whole) > _KEPT_WHOLE:
                self._shorten(self._whole.popleft())
        if len(self._kept) > _KEPT:
            self._forget_oldest()

    def _shorten(self, number: int) -> None:
        found = self._kept.get(number)
        if found is not None and number not in self._whole:
            self._kept[number] = found[0].brief(), found[1]

    def _forget_oldest(self) -> None:
        number, (_, texts) = self._kept.popitem(last=False)
        for text in texts:
            if self._numbers.get(text) == number:
                del self._numbers[text]


def _last(text: str, size: int) -> str:
    return text[-size:] if size else ""


def first_line(reason: str) -> tuple[str, str]:
    """The sentence that a reason begins with, and the traceback behind."""
    line, _, traceback = reason.partition("\n")
    return line, traceback
