"""What a process holds; imported by actors too, so without pytest."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any


def object_count(actor: Any = None) -> int:
    """Objects that the collector knows, after a collection."""
    gc.collect()
    return len(gc.get_objects())


def start_tracing(actor: Any = None) -> None:
    """Have Python's allocations counted from now on."""
    tracemalloc.start()


def traced(actor: Any = None) -> int:
    """Bytes allocated since start_tracing, and not freed."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
