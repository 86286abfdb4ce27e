"""Commands of the tests of hung and of busy actors.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pulsar_native as pn


@pn.command()
def spins_here(request: Any, seconds: float) -> str:
    """Busy in Python that long."""
    return _spin(time.monotonic() + seconds)


@pn.command()
def spins_while(request: Any, path: str) -> str:
    """Busy as long as that file is there."""
    while os.path.exists(path):
        time.sleep(0.002)
    return "spun"


def _spin(end: float) -> str:
    while time.monotonic() < end:
        pass
    return "spun"


@pn.command()
def stops_itself(request: Any) -> str:
    """Stopped by a signal until another one continues it."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return "continued"
