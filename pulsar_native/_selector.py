"""The selector of an actor's loop: looks a moment longer before it sleeps."""

from __future__ import annotations

import mmap
import selectors
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._native import Recorder, Spinner, usable_cpus

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = [
    "SpinningSelector",
    "mailbox_spinner",
    "use_page",
]

# Shared by the fork server and its children: made before the first fork.
_page = mmap.mmap(-1, mmap.PAGESIZE)


def use_page(file: int) -> None:
    """Count spinners in this file's page, as its other users do."""
    global _page
    _page = mmap.mmap(file, mmap.PAGESIZE)


class SpinningSelector(selectors.EpollSelector):
    """epoll, preceded by a moment of looking without sleeping; see spin."""

    def __init__(self, seconds: float = 0.0, alone: bool = False) -> None:
        super().__init__()
        self.spin(seconds, alone)
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._served = -1

    def spin(self, seconds: float, alone: bool = False) -> None:
        """Look for *seconds* at most, before anything is served. *alone*:
        only if nobody else who shares the page does so at the time."""
        processors = min(_processors, 2) if alone else _processors
        self._spinner = Spinner(self.fileno(), _page, processors, seconds)

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """As EpollSelector.register."""
        key = super().register(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def modify(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """As EpollSelector.modify."""
        key = super().modify(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As EpollSelector.unregister."""
        key = super().unregister(fileobj)
        self._keys.pop(key.fd, None)
        if key.fd == self._served:
            self._served = -1
            self._spinner.serve(-1, None)
        return key

    def serve(self, fd: int, call: Callable[[], object]) -> None:
        """Call *call* within select whenever *fd*, which is registered, is
        ready, without a handle of the loop; until it is unregistered."""
        self._served = fd
        self._spinner.serve(fd, call)

    def record(self, recorder: Recorder, node: int) -> None:
        """Tell the flight recorder when the loop of *node* turns."""
        self._spinner.record(recorder, node)

    def rest(self, call: Callable[[], object]) -> bool:
        """Call *call*, once, when the loop has woken. False, and no call,
        where no flight recorder tells that it sleeps."""
        return self._spinner.rest(call)

    def close(self) -> None:
        """As EpollSelector.close."""
        self._spinner.record(None, 0)
        super().close()

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """As EpollSelector.select."""
        return self._spinner.select(timeout, self._keys)


def mailbox_spinner(fd: int, seconds: float) -> Spinner:
    """For a mailbox of that descriptor, whose loop has another selector."""
    return Spinner(fd, _page, _processors, seconds)


# The spinner itself follows the affinity; a quota is looked at once.
_processors = usable_cpus()
