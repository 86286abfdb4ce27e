"""What the system tells of this process."""

from __future__ import annotations

import os
import time
from typing import Any

__all__ = ["system_info"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STARTED = time.monotonic()


def system_info() -> dict[str, Any]:
    """Memory (text), cpu_percent since the start, nice and num_threads.

    Empty where /proc is not at hand.
    """
    try:
        with open("/proc/self/statm", "rb") as file:
            virtual, resident = file.read().split()[:2]
        threads = len(os.listdir("/proc/self/task"))
    except OSError:
        return {}
    used = time.process_time()
    wall = max(time.monotonic() - _STARTED, 1e-9)
    return {
        "memory": _megabytes(int(resident) * _PAGE),
        "memory_virtual": _megabytes(int(virtual) * _PAGE),
        "cpu_percent": round(100 * used / wall, 1),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "num_threads": threads,
    }


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f}MB"
