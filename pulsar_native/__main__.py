"""``python -m pulsar_native doctor PID``: look at a running program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import _doctor

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pulsar_native")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="what the actors of a running program do",
        description="What the actors of a running program do, read from its "
        "memory: it is not asked, so it may hang or be stopped.",
        epilog="Exit codes: 0 it is told; 3 there is no such process; 4 it "
        "is not ours to look at; 5 it has no actors.",
    )
    doctor.add_argument(
        "pid", type=int, help="the program's process, or that of an actor"
    )
    doctor.add_argument(
        "--stacks",
        action="store_true",
        help="also where the threads of its actors are",
    )
    doctor.add_argument(
        "--records",
        type=int,
        default=5,
        metavar="N",
        help="tell the last N messages of each process (default: 5)",
    )
    given = parser.parse_args(arguments)
    return _doctor.report(given.pid, given.stacks, given.records)


if __name__ == "__main__":
    sys.exit(main())
