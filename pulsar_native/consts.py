"""States and timings of actors."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACTOR_ACTION_TIMEOUT",
    "ACTOR_EVENTS",
    "ACTOR_STATES",
    "MONITOR_TASK_PERIOD",
    "ActorStates",
    "notify_period",
]


class ActorStates:
    """The states through which an actor goes, in this order."""

    INITIAL: Final = 0
    INACTIVE: Final = 1
    STARTING: Final = 2
    RUN: Final = 3
    STOPPING: Final = 4
    CLOSE: Final = 5
    TERMINATE: Final = 6  # stopped while managed actors were left

    DESCRIPTION: Final = {
        0: "initial",
        1: "inactive",
        2: "starting",
        3: "running",
        4: "stopping",
        5: "closed",
        6: "terminated",
    }


ACTOR_STATES = ActorStates()

# Names of the hooks that spawn takes.
ACTOR_EVENTS = ("start", "stopping", "periodic_task", "on_info", "on_params")

# Seconds from the request to stop to SIGKILL.
ACTOR_ACTION_TIMEOUT = 5.0

# The heartbeat: this part of the actor's timeout, within these bounds and
# always below the timeout itself.
ACTOR_TIMEOUT_TOLE = 0.3
MIN_NOTIFY = 3.0
MAX_NOTIFY = 60.0

# Between two heartbeats of an actor whose loop sleeps, in seconds.
REST = 600.0

# Seconds between two rounds of the arbiter's own periodic task.
MONITOR_TASK_PERIOD = 5.0


def notify_period(timeout: float) -> float:
    """Seconds between two heartbeats of an actor with this timeout."""
    period = min(max(timeout * ACTOR_TIMEOUT_TOLE, MIN_NOTIFY), MAX_NOTIFY)
    return min(period, timeout / 2) if timeout > 0 else period
