"""The selector of an actor's loop: looks a moment longer before it sleeps."""

from __future__ import annotations

import mmap
import os
import selectors

from ._native import Spinner

__all__ = ["SpinningSelector", "usable_processors", "use_page"]

# Shared by the fork server and its children: made before the first fork.
_page = mmap.mmap(-1, mmap.PAGESIZE)


def use_page(file: int) -> None:
    """Count spinners in this file's page, as its other users do."""
    global _page
    _page = mmap.mmap(file, mmap.PAGESIZE)


class SpinningSelector(selectors.EpollSelector):
    """epoll, preceded by at most *seconds* of looking without sleeping.

    *alone*: only if nobody else who shares the page does so at the time.
    """

    def __init__(self, seconds: float, alone: bool = False) -> None:
        super().__init__()
        processors = min(_processors, 2) if alone else _processors
        self._spinner = Spinner(self.fileno(), _page, processors, seconds)

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """As EpollSelector.select."""
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        if self._spinner.wait(timeout):
            return super().select(0)
        ready = super().select(timeout)
        self._spinner.woke()
        return ready


def usable_processors() -> int:
    """Processors by affinity, and by the quota of the control group."""
    count = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return count
    if quota == "max":
        return count
    return max(1, min(count, int(quota) // int(period)))


# The spinner itself follows the affinity; a quota is looked at once.
_processors = usable_processors()
