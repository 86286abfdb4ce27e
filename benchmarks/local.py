"""How many asks a second go between actors of one process?

The kinds thread and coroutine beside pykka's threads, xoscar's actors of
one pool and the threads of pulsar 2.0.2. See README.md in this folder.
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

ALL = "main actor"


def native(kind: str) -> Peer:
    """The package under test, if it knows that kind."""
    probe = (
        "import asyncio, pulsar_native as pn\n"
        "async def main():\n"
        f"    await pn.send(await pn.spawn(kind='{kind}'), 'ping')\n"
        "asyncio.run(main())\n"
    )
    missing = f"This pulsar_native has no kind {kind}."
    options = {"loop": "stock", "actors": kind}
    return Peer("native", options, ALL, probe, missing)


def xoscar(ref: str) -> Peer:
    """xoscar, with one of its two references."""
    missing = "xoscar is not installed: pip install xoscar"
    return Peer("xoscars", {"ref": ref}, ALL, "import xoscar", missing)


PEERS = {
    "pulsar_native:thread": native("thread"),
    "pulsar_native:coroutine": native("coroutine"),
    "pulsar": Peer(
        "pulsar2", {"loop": "epoll", "actors": "thread"}, ALL, old=True
    ),
    "pykka": Peer(
        "pykkas",
        {},
        ALL,
        "import pykka",
        "pykka is not installed: pip install pykka",
    ),
    "xoscar": xoscar("created"),
    "xoscar:direct": xoscar("found"),
}


def case(asker: str, inflight: int, title: str) -> dict[str, Any]:
    """A case of asks."""
    return {
        "kind": asker,
        "asker": asker,
        "inflight": inflight,
        "title": title,
        "form": report.ASK,
    }


CASES = {
    "main-1": case("main", 1, "main program -> actor, one in flight"),
    "main-100": case("main", 100, "main program -> actor, 100 in flight"),
    "actor-1": case("actor", 1, "actor -> actor, one in flight"),
    "actor-100": case("actor", 100, "actor -> actor, 100 in flight"),
}


def options(args: argparse.Namespace, step: dict[str, Any]) -> dict[str, Any]:
    """What the peer of a step is told."""
    told = CASES[step["case"]]
    return {
        "kind": "ask",
        "asker": told["asker"],
        "inflight": told["inflight"],
        "seconds": args.seconds,
        "warmup": args.seconds * 0.3,
    }


if __name__ == "__main__":
    question = rounds.Question("local.py", __doc__, PEERS, CASES, options)
    sys.exit(question.answer())
