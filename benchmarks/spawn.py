"""How long does it take to start a process that answers, or a thousand?

The fork server of pulsar_native with its warm reserve and without, beside
multiprocessing's three ways, xoscar's sub-pools, Ray and pulsar 2.0.2. See
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

ONE, BOTH = "one", "one many"


def processes(method: str) -> Peer:
    """multiprocessing, by start method."""
    return Peer("births", {"peer": "processes", "method": method}, BOTH)


PEERS = {
    "pulsar_native": Peer(
        "births",
        {"peer": "native", "reserve": "1"},
        BOTH,
        "import pulsar_native as pn; pn.spawn",
        "pulsar_native cannot be imported: pip install .",
    ),
    "pulsar_native:reserve=0": Peer(
        "births", {"peer": "native", "reserve": "0"}, BOTH
    ),
    "fork": processes("fork"),
    "forkserver": processes("forkserver"),
    "new-interpreter": processes("spawn"),
    "xoscar": Peer(
        "births",
        {"peer": "xoscar"},
        ONE,
        "import xoscar",
        "xoscar is not installed: pip install xoscar",
    ),
    "ray": Peer(
        "births",
        {"peer": "ray"},
        ONE,
        "import ray",
        "ray is not installed: pip install ray",
    ),
    "pulsar": Peer("pulsar2", {"loop": "epoll"}, ONE, old=True),
}
MANY = report.Form(
    "start_s",
    "start s",
    False,
    (
        ("stop_s", "stop s"),
        ("pss_kib", "KiB each"),
        ("idle_percent", "idle %"),
        ("count", "count"),
    ),
    digits=2,
)
CASES = {
    "one": {
        "kind": "one",
        "title": "one process after another, until its first answer",
        "form": report.SPAWN,
    },
    "many": {
        "kind": "many",
        "title": "many at once until each has answered; then all are ended",
        "form": MANY,
    },
}


def options(args: argparse.Namespace, step: dict[str, Any]) -> dict[str, Any]:
    """What the peer of a step is told."""
    # New interpreters take their time and memory: fewer tell the same.
    most = 100 if step["peer"] == "new-interpreter" else 1000
    return {
        "kind": "spawn" if step["case"] == "one" else "many",
        "spawns": 5 if args.quick else 30,
        "pause": 0.1,  # a program that spawns now and then
        "count": min(most, 50 if args.quick else 1000),
        "seconds": args.seconds,
    }


if __name__ == "__main__":
    question = rounds.Question(
        "spawn.py", __doc__, PEERS, CASES, options, cores="two"
    )
    sys.exit(question.answer())
