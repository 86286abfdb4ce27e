"""How many asks a second, and with what latency, does an actor answer?

Beside pulsar 2.0.2 on Python 3.6, a multiprocessing pipe, and sockets with
pickle written by hand on asyncio and uvloop. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded" / "pulsar-2.0.2.json"
sys.path.insert(0, str(HERE / "peers"))

import python36  # noqa: E402
import report  # noqa: E402
import rounds  # noqa: E402
from rounds import Peer  # noqa: E402

Row = dict[str, Any]

NATIVE = (
    "import pulsar_native as pn; pn.spawn, pn.send, pn.command",
    "pulsar_native cannot be imported, or has no spawn yet: pip install .",
)
UVLOOP = ("import uvloop", "uvloop is not installed: pip install uvloop")
ALL, ASKS = "main worker spawn", "main worker"


def _native(loop: str, probe: str = "pass") -> Peer:
    """A peer that is the package under test, on one of two loops."""
    test, missing = NATIVE
    return Peer("native", {"loop": loop}, ALL, f"{test}; {probe}", missing)


PEERS = {
    "pulsar_native": _native("stock"),
    "pulsar_native+uvloop": _native("uv", "import uvloop"),
    "pulsar": Peer("pulsar2", {"loop": "epoll"}, ALL, old=True),
    "pulsar+uvloop": Peer("pulsar2", {"loop": "uv"}, ALL, *UVLOOP, old=True),
    "pipe": Peer("pipes", {}, "main"),
    "streams": Peer("sockets", {"loop": "stock", "style": "streams"}, ASKS),
    "streams36": Peer(
        "sockets", {"loop": "stock", "style": "streams"}, ASKS, old=True
    ),
    "protocol": Peer("sockets", {"loop": "stock", "style": "protocol"}, ASKS),
    "uvloop": Peer(
        "sockets", {"loop": "uv", "style": "protocol"}, ASKS, *UVLOOP
    ),
    "fork": Peer("pipes", {"context": "fork"}, "spawn"),
    "forkserver": Peer("pipes", {"context": "forkserver"}, "spawn"),
    "new-interpreter": Peer("pipes", {"context": "spawn"}, "spawn"),
}

CASES: dict[str, Row] = {
    "main-1": {
        "kind": "main",
        "asker": "main",
        "inflight": 1,
        "title": "main -> worker, one in flight",
    },
    "main-100": {
        "kind": "main",
        "asker": "main",
        "inflight": 100,
        "title": "main -> worker, 100 in flight",
    },
    "worker-1": {
        "kind": "worker",
        "asker": "worker",
        "inflight": 1,
        "title": "worker -> worker, one in flight",
    },
    "worker-100": {
        "kind": "worker",
        "asker": "worker",
        "inflight": 100,
        "title": "worker -> worker, 100 in flight",
    },
    "spawn": {
        "kind": "spawn",
        "asker": "main",
        "inflight": 1,
        "title": "a process actor until it answers",
    },
}


def recorded_rows(args: argparse.Namespace) -> list[Row]:
    """The recorded rows of the peers that need Python 3.6."""
    if not RECORDED.exists():
        return []
    record = json.loads(RECORDED.read_text())
    meta = record["meta"]
    print(
        f"Figures marked (recorded) are of {meta['date'][:10]}, on "
        f"{meta['processor']}, {meta['usable_cores']} cores, load "
        f"{meta['load'][0]:.2f}, by: {meta['command']}"
    )
    return [
        {**row, "recorded": True}
        for row in record["summary"]
        if row["peer"] in args.peers
        and row["case"] in args.only
        and row["cores"] in args.cores
    ]


def form(case: str) -> report.Form:
    """How a case is shown."""
    return report.SPAWN if case == "spawn" else report.ASK


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = rounds.parser(__doc__, PEERS, CASES)
    add = parser.add_argument
    add("--spawns", type=int, default=10, help="spawns timed in a run")
    add(
        "--record",
        action="store_true",
        help=f"write the figures of Python 3.6 to {RECORDED.name}",
    )
    args = rounds.arguments(parser)
    if args.quick:
        args.spawns = 3
    return args


def measure(args: argparse.Namespace, found: dict[str, Path]) -> list[Row]:
    """All runs; spawning is measured on the last set of cores only."""

    def fits(peer: str, case: str, place: str) -> bool:
        kind = CASES[case]["kind"]
        return kind in PEERS[peer].cases.split() and (
            kind != "spawn" or place == args.cores[-1]
        )

    def options_of(step: Row) -> Row:
        case = CASES[step["case"]]
        return {
            "kind": "spawn" if case["kind"] == "spawn" else "ask",
            "asker": case["asker"],
            "inflight": case["inflight"],
            "seconds": args.seconds,
            "warmup": args.seconds * 0.3,
            "spawns": args.spawns,
        }

    steps = rounds.plan(args, list(found), fits)
    patience = args.seconds * 2 + 60
    return rounds.run_all(steps, PEERS, found, options_of, patience)


def main() -> int:
    """Measure, show, and write what was asked for."""
    args = arguments()
    meta = rounds.circumstances("ask.py")
    found, skipped = rounds.find_peers(PEERS, args.peers, args.python36)
    for sentence in skipped:
        print(sentence)
    runs = measure(args, found)
    rows = report.rows(runs)
    old = [row for row in rows if PEERS[row["peer"]].old]
    if args.record and old:
        rounds.write(RECORDED, {"meta": meta, "summary": old})
    if python36.HOW in skipped:
        rows += recorded_rows(args)
    if rows:
        rounds.show(meta, rows, CASES, form)
    if args.json:
        content = {
            "meta": meta,
            "skipped": skipped,
            "runs": runs,
            "summary": rows,
            "ratios": report.ratios(rows, form),
        }
        rounds.write(args.json, content)
    return rounds.failures(runs)


if __name__ == "__main__":
    sys.exit(main())
