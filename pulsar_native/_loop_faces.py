"""What asyncio's code, and others', reach into a loop for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from ._native import LoopCore

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["Ready", "Timers", "Watches"]


class _Handles(Sequence[asyncio.Handle]):
    """Handles of a loop, as they are at the moment."""

    __slots__ = ("_clear", "_list")

    def __init__(
        self,
        list_them: Callable[[], list[asyncio.Handle]],
        clear_them: Callable[[], None],
    ) -> None:
        self._list, self._clear = list_them, clear_them

    def __len__(self) -> int:
        return len(self._list())

    def __iter__(self) -> Iterator[asyncio.Handle]:
        return iter(self._list())

    @overload
    def __getitem__(self, index: int) -> asyncio.Handle: ...
    @overload
    def __getitem__(self, index: slice) -> list[asyncio.Handle]: ...
    def __getitem__(
        self, index: int | slice
    ) -> asyncio.Handle | list[asyncio.Handle]:
        return self._list()[index]

    def __repr__(self) -> str:
        return repr(self._list())

    def clear(self) -> None:
        """Call none of them."""
        self._clear()


class Ready(_Handles):
    """loop._ready: what is called next, in this order."""

    __slots__ = ("_core",)

    def __init__(self, core: LoopCore) -> None:
        super().__init__(core._list_ready, core._drop_ready)
        self._core = core

    def __len__(self) -> int:
        return self._core._count_ready()

    def append(self, handle: asyncio.Handle) -> None:
        """Have it called last."""
        self._core._add_callback(handle)

    def popleft(self) -> asyncio.Handle:
        """Take what would be called next."""
        return self._core._take_ready()


class Timers(_Handles):
    """loop._scheduled: what is called later, the earliest first."""

    __slots__ = ()

    def __init__(self, core: LoopCore) -> None:
        super().__init__(core._list_timers, core._drop_timers)


class _Map(Mapping[Any, selectors.SelectorKey]):
    def __init__(self, core: LoopCore) -> None:
        self._core = core

    def __getitem__(
        self, fileobj: FileDescriptorLike
    ) -> selectors.SelectorKey:
        try:
            handles = self._core._watchers(fileobj)
        except ValueError:
            handles = None
        if handles is None:
            raise KeyError(f"{fileobj!r} is not registered")
        reader, writer = handles
        mask = selectors.EVENT_READ if reader is not None else 0
        if writer is not None:
            mask |= selectors.EVENT_WRITE
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return selectors.SelectorKey(fileobj, fd, mask, handles)

    def __len__(self) -> int:
        return len(self._core._watched())

    def __iter__(self) -> Iterator[int]:
        return iter(self._core._watched())


class Watches(selectors.BaseSelector):
    """loop._selector: shows what is watched; the loop itself waits."""

    def __init__(self, core: LoopCore) -> None:
        self._map = _Map(core)

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Refused: add_reader and add_writer do this."""
        raise NotImplementedError("this loop watches its descriptors itself")

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """Refused: remove_reader and remove_writer do this."""
        raise NotImplementedError("this loop watches its descriptors itself")

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Refused: the loop's turns do this."""
        raise NotImplementedError("this loop watches its descriptors itself")

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Who waits for which descriptor."""
        return self._map

    def close(self) -> None:
        """Nothing is watched any more."""
        self._map._core._release()
