"""Index the words of a folder with a supervised pool of actors.

    python docs/examples/word_index.py [FOLDER] [--workers N] [--no-kill]

A supervisor keeps one worker process for each usable core, and batches of
files go to whichever has the least to do. Half-way one of the workers is
killed with SIGKILL: what it was asked fails at once with ActorDown and is
asked again of any other, and the supervisor starts a successor. At the end
the index is compared with one built without actors.

The index maps each word to the files that contain it and how often:
{word: {number of file: occurrences}}. A batch's reply is such a mapping too,
and merging a reply twice changes nothing, so asking again is always safe.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import logging
import os
import re
import signal
import stat
import sys
import sysconfig
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from word_index_display import Display, Progress, Records, Row

import pulsar_native as pn

Words = dict[str, dict[int, int]]
Part = tuple[Words, dict[int, str], int]  # words, files left out, text bytes

# Two or more letters of any alphabet; of someWord, "some" and "Word".
WORD = re.compile(r"[^\W\d_]{2,}?(?=[A-Z][a-z]|[\W\d_]|\Z)")
SNIFFED = 64 * 1024  # bytes read before a file is taken for text
BATCH = 256 * 1024  # bytes of a batch, at most, unless one file has more
BINARY = "binary"  # why a file was left out, unless the system says why
INSTALLED = "site-packages"
IN_FLIGHT = 3  # batches that are asked for at a time, for each worker


class BadFolder(Exception):
    """There is nothing to index."""


# ---- The index: nothing here knows of actors ----


def walk(
    folder: str, skip: Iterable[str] = ("__pycache__",)
) -> tuple[list[tuple[str, int]], list[str]]:
    """List the regular files below *folder*, in a fixed order.

    Return [(path relative to *folder*, size in bytes), ...] and a sentence
    for each thing that cannot be looked at. Symbolic links are not followed,
    folders named in *skip* not entered.
    """
    files: list[tuple[str, int]] = []
    errors: list[OSError] = []
    for path, folders, names in os.walk(folder, onerror=errors.append):
        folders[:] = sorted(set(folders).difference(skip))
        for name in sorted(names):
            file = os.path.join(path, name)
            try:
                info = os.lstat(file)
            except OSError as error:
                errors.append(error)
                continue
            if stat.S_ISREG(info.st_mode):
                files.append((os.path.relpath(file, folder), info.st_size))
    return files, [f"{e.filename}: {e.strerror}" for e in errors]


def batches(sizes: Sequence[int], limit: int) -> list[range]:
    """Cut files into ranges of numbers, of at most *limit* bytes each."""
    ranges = []
    first = size = 0
    for number, more in enumerate(sizes):
        if number > first and size + more > limit:
            ranges.append(range(first, number))
            first, size = number, 0
        size += more + 1  # an empty file is some work, too
    if first < len(sizes):
        ranges.append(range(first, len(sizes)))
    return ranges


def read_text(path: str) -> bytes | None:
    """Read a whole file, or None if it is binary: if it has a NUL byte."""
    with open(path, "rb") as file:
        data = file.read(SNIFFED)
        if b"\0" not in data:
            data += file.read()
    return None if b"\0" in data else data


def count_words(text: bytes) -> Counter[str]:
    """Count the words of UTF-8 text; bytes that are not UTF-8 part words."""
    words = WORD.findall(text.decode("utf-8", "replace"))
    return Counter(map(str.casefold, words))


def index_files(folder: str, first: int, names: Iterable[str]) -> Part:
    """Index the files *names* of *folder*, numbered from *first* on."""
    words: Words = {}
    left_out: dict[int, str] = {}
    size = 0
    for number, name in enumerate(names, first):
        try:
            text = read_text(os.path.join(folder, name))
        except OSError as error:
            left_out[number] = error.strerror or str(error)
            continue
        if text is None:
            left_out[number] = BINARY
            continue
        size += len(text)
        for word, count in count_words(text).items():
            words.setdefault(word, {})[number] = count
    return words, left_out, size


@dataclass
class Index:
    """What is known of the files so far. Equal if every count is equal."""

    words: Words = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)

    def merge(self, words: Words, left_out: dict[int, str]) -> None:
        """Take over the result of a batch: in any order, once or twice.

        The mappings belong to the index from then on.
        """
        for word, counts in words.items():
            known = self.words.setdefault(word, counts)
            if known is not counts:
                known.update(counts)
        self.left_out.update(left_out)

    def most_frequent(self, count: int) -> list[tuple[str, int]]:
        """The *count* words with the most occurrences, the first first."""
        totals = ((sum(c.values()), w) for w, c in self.words.items())
        best = heapq.nsmallest(count, ((-n, word) for n, word in totals))
        return [(word, -negative) for negative, word in best]

    def differences(self, other: Index) -> list[str]:
        """The words, and the numbers of files left out, that differ."""
        every = self.words.keys() | other.words.keys()
        words = [w for w in every if self.words.get(w) != other.words.get(w)]
        files = self.left_out.items() ^ other.left_out.items()
        return sorted(words) + [str(n) for n in sorted({n for n, _ in files})]


@dataclass
class Job:
    """A folder, its files, and the batches into which they are cut."""

    folder: str
    names: list[str]
    sizes: list[int]
    batches: list[range]

    def question(self, batch: range) -> tuple[str, int, list[str]]:
        """The arguments that index *batch*."""
        return self.folder, batch.start, self.names[batch.start : batch.stop]


# ---- The workers ----


@pn.command()
def index(
    request: pn.Request, folder: str, first: int, names: list[str]
) -> tuple[str, Part]:
    """Index a batch of files: this runs in the workers."""
    return request.actor.name, index_files(folder, first, names)


class Indexing:
    """A job, done by a pool of workers."""

    def __init__(self, job: Job, display: Display, kill: bool) -> None:
        self.job = job
        self.display = display
        self.kill = kill  # one worker is still to be killed
        self.victim: int | None = None  # its pid
        self.killed_at = 0.0  # epoch seconds
        self.index = Index()
        self.progress = Progress(len(job.names))
        self.waiting = deque(job.batches)
        self.workers: dict[str, Row] = {}  # by the name of their role

    async def run(self, workers: int) -> None:
        """Index everything with *workers* actors."""
        began = time.monotonic()
        async with pn.supervisor(name="indexers") as sup:
            pool = await sup.spawn(workers, name="indexer")
            taken = 1000 * (time.monotonic() - began)
            self.display.say(f"  {workers} started in {taken:.0f} ms")
            follow = [asyncio.create_task(self.follow(r)) for r in pool]
            async with asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT * workers):
                    group.create_task(self.feed(pool))
            for role in pool:  # a successor may be on its way: let it come
                await pn.send.options(retry=True)(role, "ping")
        await asyncio.wait(follow)  # they tell of the workers' ends

    async def feed(self, pool: pn.Pool) -> None:
        """Ask for one batch after the other."""
        while self.waiting:
            batch = self.waiting.popleft()
            name, (words, left_out, size) = await self.ask(pool, batch)
            self.index.merge(words, left_out)
            self.workers[name].files += len(batch)
            self.progress.files += len(batch)
            self.progress.size += size
            self.progress.answers += 1
            if self.kill and 2 * self.progress.files >= self.progress.total:
                self.kill_one()

    async def ask(self, pool: pn.Pool, batch: range) -> tuple[str, Part]:
        """Have *batch* indexed, by whoever lives; more than once is no harm.

        With retry=True from the start nobody would see the first failure;
        here it is to be counted.
        """
        question = self.job.question(batch)
        try:
            return await pool.send(index, *question)
        except pn.ActorDown:
            self.progress.failed += 1
        return await pool.send.options(retry=True)(index, *question)

    async def follow(self, role: pn.Role[Any]) -> None:
        """Tell of the actors that have *role*, and of their ends."""
        row = self.workers[role.name] = Row(role.name)
        ask = pn.send.options(retry=True)  # waits for a successor
        with contextlib.suppress(pn.ActorDown):  # there will be none
            while row.state != "stopped":
                row.pid = await ask(role, "call", os.getpid)
                former, row.generation = row.generation, role.generation
                row.state = "running"
                if role.down is not None and row.generation > former:
                    self.back(row, role.down)
                self.ended(row, await pn.watch(role))

    def ended(self, row: Row, down: pn.Down) -> None:
        """An actor has ended: say so, unless it was asked to stop."""
        if down.exit_code == 0:
            row.state = "stopped"
            return
        row.state = "killed" if down.signal else "ended"
        after = ""
        if row.pid == self.victim:
            after = f" after {1000 * (down.when - self.killed_at):.1f} ms"
        self.display.say(f"  {row.name} is seen dead{after}: {down.reason}")

    def back(self, row: Row, down: pn.Down) -> None:
        """Another actor has the role of one that has ended."""
        self.display.say(
            f"  {row.name} is up again {1000 * (time.time() - down.when):.0f}"
            f" ms later: pid {row.pid}, generation {row.generation};"
            f" asks repeated: {self.progress.failed}",
            "green",
        )

    def kill_one(self) -> None:
        """Kill the worker that has done most, if there is work left."""
        running = [w for w in self.workers.values() if w.state == "running"]
        if not running or self.progress.answers == len(self.job.batches):
            return
        victim = max(running, key=lambda worker: worker.files)
        assert victim.pid is not None
        self.kill = False
        self.victim, self.killed_at = victim.pid, time.time()
        os.kill(victim.pid, signal.SIGKILL)
        self.display.say(
            f"  {victim.name} (pid {victim.pid}) gets SIGKILL", "red"
        )


# ---- The program ----


async def in_parallel(indexing: Indexing, workers: int) -> None:
    """Do *indexing* while its progress is drawn."""
    display, rows = indexing.display, indexing.workers.values()

    async def redraw() -> None:
        while True:
            display.show(indexing.progress, rows)
            await asyncio.sleep(display.period)

    display.say(
        f"Indexing {len(indexing.job.names):,} files below"
        f" {indexing.job.folder} with {workers} supervised worker actors",
        "bold",
    )
    with display.drawing(indexing.progress, rows):
        drawing = asyncio.create_task(redraw())
        try:
            await indexing.run(workers)
        finally:
            drawing.cancel()


def in_sequence(job: Job, display: Display) -> tuple[Index, Progress]:
    """Build the same index here, without actors."""
    index = Index()
    progress = Progress(len(job.names))
    with display.drawing(progress, []):
        for batch in job.batches:
            words, left_out, size = index_files(*job.question(batch))
            index.merge(words, left_out)
            progress.files += len(batch)
            progress.size += size
            display.show(progress, [])
    return index, progress


def prepare(folder: str, skip: Iterable[str], workers: int) -> Job:
    """Find the files and cut them into batches for *workers* actors."""
    if not os.path.isdir(folder):
        raise BadFolder(f"no such folder: {folder}")
    files, errors = walk(folder, skip)
    for error in errors:
        print(f"word_index: left out: {error}", file=sys.stderr)
    if not files:
        raise BadFolder(f"no files below {folder}")
    names = [name for name, _ in files]
    sizes = [size for _, size in files]
    limit = min(BATCH, sum(sizes) // (8 * workers))  # at least 8 each
    return Job(folder, names, sizes, batches(sizes, limit))


def report(indexing: Indexing, alone: Progress) -> None:
    """Print the figures of both runs and the most frequent words."""
    say, together = indexing.display.say, indexing.progress
    left_out = indexing.index.left_out
    say()
    for number, why in left_out.items():
        if why != BINARY:
            say(f"  left out {indexing.job.names[number]}: {why}", "yellow")
    say(
        f"  {len(indexing.index.words):,} words in"
        f" {together.total - len(left_out):,} files,"
        f" {together.size / 1e6:.1f} MB of text;"
        f" {len(left_out):,} binary or unreadable files left out"
    )
    for name, run in ("actors", together), ("sequential", alone):
        speed = run.size / run.seconds / 1e6
        say(f"  {name:<12}{run.seconds:7.2f} s  {speed:7.1f} MB/s")
    say(f"  {'speed-up':<12}{alone.seconds / together.seconds:7.2f} times")
    say(
        f"  {'asks':<12}{together.answers + together.failed:7,}, of which"
        f" {together.failed} failed with ActorDown and were asked again"
    )
    say()
    say("  The most frequent words", "bold")
    for word, count in indexing.index.most_frequent(10):
        say(f"  {count:>12,}  {word}")
    say()


def compare(indexing: Indexing, index: Index) -> int:
    """Say whether both have made the same; return the exit status."""
    different = indexing.index.differences(index)
    if not different:
        indexing.display.say("The two indexes are equal.", "green")
        return 0
    indexing.display.say(
        f"The two indexes differ, in {len(different):,} places:"
        f" {', '.join(different[:5])}. Did a file change meanwhile?",
        "red",
    )
    return 1


def demo(folder: str, skip: Iterable[str], workers: int, kill: bool) -> int:
    """Build the index twice and compare; return the exit status."""
    job = prepare(folder, skip, workers)
    display = Display(sys.stdout, os.environ)
    logging.basicConfig(handlers=[Records(display)], format="%(message)s")
    indexing = Indexing(job, display, kill)
    asyncio.run(in_parallel(indexing, workers))
    display.say("Indexing them again without actors", "bold")
    index, alone = in_sequence(job, display)
    report(indexing, alone)
    return compare(indexing, index)


def positive(text: str) -> int:
    """Parse a number of workers."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        description="Index the words of a folder with a pool of actors."
    )
    parser.add_argument(
        "folder", nargs="?", help="default: the standard library's folder"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=pn.usable_cpus(),
        metavar="N",
        help="default: one for each usable core (%(default)s)",
    )
    parser.add_argument(
        "--no-kill", action="store_true", help="let every worker live"
    )
    options = parser.parse_args(argv)
    # What others installed into the standard library's folder is skipped.
    skip = {"__pycache__"} if options.folder else {"__pycache__", INSTALLED}
    folder = options.folder or sysconfig.get_path("stdlib")
    try:
        return demo(folder, skip, options.workers, not options.no_kill)
    except BadFolder as error:
        print(f"word_index: {error}", file=sys.stderr)
        return 2
    except pn.PulsarException as error:
        print(f"word_index: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nword_index: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
