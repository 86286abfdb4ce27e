"""What do a hundred thousand supervised actors cost, at rest and failing?

Coroutine actors under one supervisor: the time to start each, memory, what
they use while nobody asks, the time until 1,000 that end abnormally have
successors that answer, and the time to end all. Beside bare tasks with a
queue that a callback makes again, the floor, and lapinbeam's actors. See
README.md in this folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

import report
import rounds
from rounds import Peer

PROBE = "import pulsar_native as pn; pn.supervisor"
FORM = report.Form(
    "restart_ms",
    "restart ms",
    False,
    (
        ("make_us", "make us"),
        ("bytes_each", "bytes"),
        ("idle_percent", "idle %"),
        ("stop_s", "stop s"),
        ("failing", "failing"),
        ("count", "count"),
    ),
    digits=2,
)
PEERS = {
    "pulsar_native": Peer(
        "supervising",
        {"peer": "native"},
        "crowd",
        PROBE,
        "This pulsar_native has no supervisor.",
    ),
    "tasks": Peer("supervising", {"peer": "tasks"}, "crowd"),
    "lapinbeam": Peer(
        "supervising",
        {"peer": "lapinbeam"},
        "crowd",
        "import lapinbeam",
        "lapinbeam is not installed: pip install lapinbeam",
    ),
}
CASES = {
    "crowd": {
        "kind": "crowd",
        "title": "100,000 supervised actors, of which 1,000 fail at once",
        "form": FORM,
    },
}


def options(args: argparse.Namespace, step: dict[str, Any]) -> dict[str, Any]:
    """What the peer of a step is told."""
    count = 10_000 if args.quick else 100_000
    return {
        "count": count,
        "failing": count // 100,
        "seconds": args.seconds,
    }


if __name__ == "__main__":
    question = rounds.Question(
        "supervised.py", __doc__, PEERS, CASES, options, cores="two"
    )
    sys.exit(question.answer())
