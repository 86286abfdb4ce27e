"""The standard library's loop, with the names that a subclass needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

__all__ = ["StockLoop"]

if TYPE_CHECKING:

    class StockLoop(asyncio.SelectorEventLoop):
        """asyncio.SelectorEventLoop, as it is inside."""

        _internal_fds: int
        _old_agen_hooks: Any
        _signal_handlers: dict[int, asyncio.Handle]

        def _check_running(self) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...
        def _asyncgen_firstiter_hook(
            self, agen: AsyncGenerator[Any, Any]
        ) -> None: ...
        def _asyncgen_finalizer_hook(
            self, agen: AsyncGenerator[Any, Any]
        ) -> None: ...
        def _read_from_self(self) -> None: ...
        def _process_self_data(self, data: bytes) -> None: ...

else:
    StockLoop = asyncio.SelectorEventLoop
