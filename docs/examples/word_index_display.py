"""How word_index.py shows its progress; nothing here knows of actors.

On a terminal a bar and a line for each worker are drawn again and again in
the same place. Elsewhere, and on terminals that cannot move the cursor, a
plain line appears about once a second.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

Line = list[tuple[str, str]]  # pieces of a line: a style or "", and text

STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}
STATES = {
    "starting": "yellow",
    "running": "green",
    "killed": "red",
    "ended": "red",
    "stopped": "dim",
}


@dataclass
class Row:
    """What is shown of a worker."""

    name: str
    state: str = "starting"  # a key of STATES
    pid: int | None = None
    generation: int = 0  # how many there were before
    files: int = 0  # files that they have indexed


@dataclass
class Progress:
    """How far an index is."""

    total: int  # files
    files: int = 0
    size: int = 0  # bytes of text
    answers: int = 0
    failed: int = 0  # questions that ended with ActorDown
    seconds: float = 0.0  # since the start


def summary(progress: Progress, *, asks: bool) -> str:
    """Say in one line how far it is and how fast it goes."""
    seconds = max(progress.seconds, 1e-6)
    return (
        f"{progress.files / progress.total:4.0%}"
        f"  {progress.files:,} of {progress.total:,} files"
        f"  {progress.size / seconds / 1e6:.1f} MB/s"
        + (f"  {progress.answers / seconds:.0f} asks/s" if asks else "")
    )


def plain(progress: Progress, rows: Collection[Row]) -> str:
    """Say everything in one line."""
    states = "; ".join(f"{r.name} {r.state} {r.files:,}" for r in rows)
    text = summary(progress, asks=bool(rows))
    return f"  {text}  ({states})" if rows else f"  {text}"


def render(
    progress: Progress,
    rows: Collection[Row],
    columns: int,
    height: int,
    marks: str = "━─●",
) -> list[Line]:
    """Draw a bar and a line for each row, at most *columns* by *height*.

    *marks* are the characters for done, to do, and a worker. Of too many
    rows the last are drawn.
    """
    text = summary(progress, asks=bool(rows))
    length = max(0, min(40, columns - len(text) - 3))
    done = length * progress.files // progress.total
    lines: list[Line] = [
        [
            ("", "  "),
            ("cyan", marks[0] * done),
            ("dim", marks[1] * (length - done)),
            ("bold", " " + text),
        ]
    ]
    room = max(height - 1, 0)
    for row in list(rows)[max(len(rows) - room, 0) :]:
        style = STATES[row.state]
        lines.append(
            [
                (style, f"  {marks[2]} "),
                ("", f"{row.name:<11} pid {row.pid or '-':<8} "),
                (style, f"{row.state:<9}"),
                ("", f"{row.files:>7,} files"),
                (
                    "dim",
                    f"  generation {row.generation}" if row.generation else "",
                ),
            ]
        )
    return [fit(line, columns) for line in lines]


def fit(line: Line, columns: int) -> Line:
    """Cut *line* off at *columns* characters."""
    cut: Line = []
    for style, text in line:
        if columns > 0 and text:
            cut.append((style, text[:columns]))
        columns -= len(text)
    return cut


def paint(line: Line, *, colour: bool) -> str:
    """Turn *line* into text for a terminal, with or without colours."""
    return "".join(
        f"\x1b[{STYLES[style]}m{text}\x1b[m" if style and colour else text
        for style, text in line
    )


class Display:
    """Shows progress on *stream* as its kind and *environ* allow."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self.stream = stream
        self.encoding = stream.encoding or "ascii"
        term = environ.get("TERM", "")
        self.live = stream.isatty() and term not in ("", "dumb", "unknown")
        self.colour = self.live and not environ.get("NO_COLOR")
        self.period = 0.1 if self.live else 1.0  # seconds between drawings
        utf8 = self.encoding.lower().replace("-", "") == "utf8"
        self.marks = "━─●" if utf8 else "#-*"
        self.started = 0.0
        self.due = 0.0  # when to draw next
        self.drawn: list[str] = []  # the lines that stand above the cursor

    @contextmanager
    def drawing(
        self, progress: Progress, rows: Collection[Row]
    ) -> Iterator[None]:
        """Time *progress* while the block runs; draw it once more after."""
        self.started = time.monotonic()
        self.due = self.started + (0 if self.live else self.period)
        try:
            yield
            self.draw(progress, rows)
        finally:
            self.drawn = []

    def show(self, progress: Progress, rows: Collection[Row]) -> None:
        """Draw *progress*, unless the last drawing is too recent."""
        if time.monotonic() >= self.due:
            self.draw(progress, rows)

    def draw(self, progress: Progress, rows: Collection[Row]) -> None:
        """Draw *progress* now, over what was drawn before."""
        now = time.monotonic()
        progress.seconds = now - self.started
        self.due = now + self.period
        if not self.live:
            self.write(plain(progress, rows) + "\n")
            return
        columns, height = shutil.get_terminal_size()
        # The last column and the cursor's own line stay free.
        lines = render(progress, rows, columns - 1, height - 1, self.marks)
        up = self.up()
        self.drawn = [paint(line, colour=self.colour) for line in lines]
        self.write(up + "".join(f"{line}\x1b[K\n" for line in self.drawn))

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line above what is drawn."""
        clear = f"{self.up()}\x1b[J" if self.drawn else ""
        painted = paint([(style, text)], colour=self.colour)
        below = "".join(f"{line}\n" for line in self.drawn)
        self.write(f"{clear}{painted}\n{below}")

    def up(self) -> str:
        """The text that moves the cursor up to the first drawn line."""
        return f"\x1b[{len(self.drawn)}A" if self.drawn else ""

    def write(self, text: str) -> None:
        """Write *text* at once; what cannot be encoded becomes "?"."""
        encoded = text.encode(self.encoding, "replace")
        self.stream.write(encoded.decode(self.encoding))
        self.stream.flush()


class Records(logging.Handler):
    """Says what is logged, so that it does not land amid a drawing."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self.display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Print *record* above what is drawn."""
        self.display.say(f"  {self.format(record)}", "dim")
