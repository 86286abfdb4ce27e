"""How many items a second does a stream carry, and how many bytes?

Windows of 1, 16 and 64 beside an ask for each item, asyncio streams with
pickle and a blocking multiprocessing.Pipe.
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

FORM = report.Form("rate", "items/s", True, (("mb", "MB/s"),), digits=0)
PROBE = "import pulsar_native as pn; pn.stream"
MISSING = "This pulsar_native has no streams."


def native(window: int) -> Peer:
    """A stream of the package under test."""
    options: dict[str, Any] = {"peer": "native", "window": window}
    return Peer("flow", options, "plain array", PROBE, MISSING)


PEERS = {
    "pulsar_native:1": native(1),
    "pulsar_native:16": native(16),
    "pulsar_native:64": native(64),
    "pulsar_native:asks": Peer(
        "flow", {"peer": "asks"}, "plain array", PROBE, MISSING
    ),
    "asyncio": Peer("flow", {"peer": "asyncio_streams"}, "plain array"),
    "pipe": Peer("flow", {"peer": "pipe"}, "plain array"),
}


def case(title: str, size: int, array: bool = False) -> dict[str, Any]:
    """A case of items of one size."""
    return {
        "kind": "array" if array else "plain",
        "title": title,
        "size": size,
        "array": array,
        "form": FORM,
    }


CASES = {
    "int": case("small ints", 0),
    "1k": case("bytes objects of 1 KiB", 2**10),
    "64k": case("bytes objects of 64 KiB", 2**16),
    "1m": case("bytes objects of 1 MiB", 2**20),
    "16m": case("bytes objects of 16 MiB", 2**24),
    "array-1m": case("NumPy arrays of 1 MiB", 2**20, array=True),
    "array-16m": case("NumPy arrays of 16 MiB", 2**24, array=True),
}


def options(args: argparse.Namespace, step: dict[str, Any]) -> dict[str, Any]:
    """What the peer of a step is told."""
    told = CASES[step["case"]]
    return {
        "size": told["size"],
        "array": told["array"],
        "seconds": args.seconds,
        "warmup": args.seconds * 0.3,
    }


if __name__ == "__main__":
    question = rounds.Question(
        "stream.py", __doc__, PEERS, CASES, options, cores="two"
    )
    sys.exit(question.answer())
