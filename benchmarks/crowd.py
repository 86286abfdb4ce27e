"""What do a hundred thousand actors in one process cost?

Memory for each, the time to make each and to ask each once; beside xoscar's
actors of one pool, pykka's threads and bare tasks with a queue.
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

PROBE = (
    "import asyncio, pulsar_native as pn\n"
    "async def main():\n"
    "    await pn.send(await pn.spawn(kind='coroutine'), 'ping')\n"
    "asyncio.run(main())\n"
)
FORM = report.Form(
    "bytes_each",
    "bytes",
    False,
    (
        ("asked_bytes_each", "asked"),
        ("make_us", "make us"),
        ("ask_us", "ask us"),
        ("count", "count"),
    ),
    digits=0,
)
# Threads end at the limits of the system, not at those of pykka.
THREADS = 2000

PEERS = {
    "pulsar_native": Peer(
        "herd",
        {"peer": "native"},
        "crowd",
        PROBE,
        "This pulsar_native has no kind coroutine.",
    ),
    "tasks": Peer("herd", {"peer": "tasks"}, "crowd"),
    "xoscar": Peer(
        "herd",
        {"peer": "xoscar"},
        "crowd",
        "import xoscar",
        "xoscar is not installed: pip install xoscar",
    ),
    "pykka": Peer(
        "herd",
        {"peer": "pykka"},
        "crowd",
        "import pykka",
        "pykka is not installed: pip install pykka",
    ),
}
CASES = {
    "crowd": {
        "kind": "crowd",
        "title": "100,000 actors, each asked once (pykka: 2,000 threads)",
        "form": FORM,
    },
}


def options(args: argparse.Namespace, step: dict[str, Any]) -> dict[str, Any]:
    """What the peer of a step is told."""
    count = 10_000 if args.quick else 100_000
    return {"count": THREADS if step["peer"] == "pykka" else count}


if __name__ == "__main__":
    question = rounds.Question(
        "crowd.py", __doc__, PEERS, CASES, options, cores="two"
    )
    sys.exit(question.answer())
