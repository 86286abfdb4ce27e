"""Large memory in messages: what of a value travels beside its pickle.

Pickle protocol 5 hands the memory of arrays to a callback. What is large
enough goes out of band: it is copied once, when the message is sent, and the
receiver's arrays and memoryviews lie in the message itself, which they own.
"""

from __future__ import annotations

from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any

__all__ = ["LEAST", "MOST", "keeper", "make_memoryview", "reduce_memoryview"]

LEAST = 16384  # bytes; smaller memory is pickled, which is as fast
MOST = 64  # buffers of one message, as csrc/mailbox/extension.h limits them

_FORMATS = frozenset("cbB?hHiIlLqQnNfdP")


def keeper(buffers: list[memoryview]) -> Callable[[PickleBuffer], bool]:
    """A pickler's ``buffer_callback`` that appends to *buffers*.

    What is small, not contiguous, or one too many stays in the pickle.
    """

    def stays(buffer: PickleBuffer) -> bool:
        if len(buffers) >= MOST:
            return True
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < LEAST:
            return True
        buffers.append(raw)
        return False

    return stays


def reduce_memoryview(_: object, view: memoryview) -> Any:
    """Reduce *view*; TypeError for items that no other view can have."""
    if view.format.removeprefix("@") not in _FORMATS:
        raise TypeError(
            f"a memoryview of format {view.format!r} cannot be sent"
        )
    shape = None if view.ndim == 1 else view.shape
    memory = view if view.c_contiguous else view.tobytes()
    return make_memoryview, (PickleBuffer(memory), view.format, shape)


def make_memoryview(
    memory: Any, format: str, shape: tuple[int, ...] | None
) -> memoryview:
    """A writable view of *memory*, which nobody else has."""
    view = memoryview(memory)
    if view.readonly:
        # The sender's was: pickle kept that in mind, by a view or by bytes.
        whole = view.obj
        view = memoryview(bytearray(view) if type(whole) is bytes else whole)
    # mypy wants the formats spelled out.
    items: Any = view.cast("B")
    if shape is None or 0 in shape:
        return memoryview(items.cast(format))
    return memoryview(items.cast(format, shape))
