"""Index the words of a folder with a pool of worker actors.

    python docs/examples/word_index.py [FOLDER] [--workers N] [--no-kill]

One worker process for each usable core indexes batches of files. Half-way
one of the workers is killed with SIGKILL: its unanswered questions fail at
once with ActorDown, a new worker takes its place, and the questions are
asked again. At the end the index is compared with one built without actors.

The index maps each word to the files that contain it and how often:
{word: {number of file: occurrences}}. A batch's reply is such a mapping too,
and merging a reply twice changes nothing, so asking again is always safe.
"""

from __future__ import annotations

import argparse
import asyncio
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
IN_FLIGHT = 3  # batches that a worker has in hand
ATTEMPTS = 3  # how often a batch is asked before the job is given up


class BadFolder(Exception):
    """There is nothing to index."""


class Failed(Exception):
    """The index cannot be finished."""


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
def index(request: Any, folder: str, first: int, names: list[str]) -> Part:
    """Index a batch of files: this runs in the workers."""
    return index_files(folder, first, names)


@dataclass
class Worker(Row):
    """A worker actor; what is shown of it, and how to reach it."""

    proxy: pn.ActorProxy | None = None  # None until it has started


class Pool:
    """Worker actors that index a job, each with a few batches in flight."""

    def __init__(self, job: Job, display: Display, kill: bool) -> None:
        self.job = job
        self.display = display
        self.kill = kill  # one worker is still to be killed
        self.victim: Worker | None = None
        self.killed_at = 0.0
        self.index = Index()
        self.progress = Progress(len(job.names))
        self.workers: list[Worker] = []
        self.waiting = deque(job.batches)
        self.attempts: Counter[range] = Counter()
        self.asks: dict[asyncio.Future[Part], tuple[Worker, range]] = {}

    async def run(self, workers: int) -> None:
        """Index everything with *workers* actors."""
        progress = self.progress
        await asyncio.gather(*(self.hire() for _ in range(workers)))
        try:
            while self.waiting or self.asks:
                self.fill()
                if self.kill and 2 * progress.files >= progress.total:
                    self.kill_one()
                await self.collect()
        finally:
            for reply in self.asks:  # left only if something went wrong
                if not reply.cancel():
                    reply.exception()  # it has failed: let that be known
        await self.dismiss()

    async def collect(self) -> None:
        """Wait for answers, and take them."""
        done, _ = await asyncio.wait(
            self.asks, return_when=asyncio.FIRST_COMPLETED
        )
        for reply in done:
            worker, batch = self.asks.pop(reply)
            worker.asks -= 1
            try:
                part = reply.result()
            except pn.ActorDown as down:
                await self.lost(worker, batch, down)
            else:
                self.answered(worker, batch, part)

    async def hire(self) -> None:
        """Start another worker."""
        worker = Worker(len(self.workers) + 1)
        self.workers.append(worker)
        proxy = await pn.spawn(name=f"worker-{worker.number}")
        worker.proxy, worker.pid = proxy, proxy.pid
        worker.state = "running"

    def fill(self) -> None:
        """Give batches to the workers that have too few."""
        for worker in self.workers:
            while (
                self.waiting
                and worker.state == "running"
                and worker.asks < IN_FLIGHT
            ):
                batch = self.waiting.popleft()
                reply = pn.send(
                    worker.proxy, "index", *self.job.question(batch)
                )
                self.asks[reply] = worker, batch
                self.attempts[batch] += 1
                worker.asks += 1

    def answered(self, worker: Worker, batch: range, part: Part) -> None:
        """Take over the answer to *batch*."""
        words, left_out, size = part
        self.index.merge(words, left_out)
        worker.files += len(batch)
        self.progress.files += len(batch)
        self.progress.size += size
        self.progress.answers += 1

    async def lost(
        self, worker: Worker, batch: range, down: pn.ActorDown
    ) -> None:
        """Ask *batch* again, and replace the worker that owed the answer."""
        self.progress.failed += 1
        self.waiting.appendleft(batch)
        if self.attempts[batch] == ATTEMPTS:
            raise Failed(f"{ATTEMPTS} workers died at the same files: {down}")
        if worker.state == "running":  # the first answer that it owed
            worker.state = "killed" if down.signal else "ended"
            after = 1000 * (time.monotonic() - self.killed_at)
            later = f" {after:.1f} ms later" if worker is self.victim else ""
            self.display.say(
                f"  worker {worker.number} is down{later}:"
                f" {worker.asks + 1} questions failed, asking them again"
            )
            await self.hire()

    def kill_one(self) -> None:
        """Kill the worker with the most unanswered questions, if any."""
        victim = max(self.workers, key=lambda worker: worker.asks)
        if not victim.asks or victim.pid is None:
            return
        self.kill = False
        self.victim = victim
        self.killed_at = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        self.display.say(
            f"  worker {victim.number} (pid {victim.pid}) gets SIGKILL", "red"
        )

    async def dismiss(self) -> None:
        """Stop the workers that are left."""
        running = [w for w in self.workers if w.state == "running"]
        stops = (pn.send(worker.proxy, "stop") for worker in running)
        await asyncio.gather(*stops, return_exceptions=True)
        for worker in running:
            worker.state = "stopped"


# ---- The program ----


async def in_parallel(pool: Pool, workers: int) -> None:
    """Run *pool* while its progress is drawn."""

    async def redraw() -> None:
        while True:
            pool.display.show(pool.progress, pool.workers)
            await asyncio.sleep(pool.display.period)

    pool.display.say(
        f"Indexing {len(pool.job.names):,} files below {pool.job.folder}"
        f" with {workers} worker actors",
        "bold",
    )
    with pool.display.drawing(pool.progress, pool.workers):
        drawing = asyncio.create_task(redraw())
        try:
            await pool.run(workers)
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


def report(pool: Pool, alone: Progress) -> None:
    """Print the figures of both runs and the most frequent words."""
    say, together = pool.display.say, pool.progress
    left_out = pool.index.left_out
    say()
    for number, why in left_out.items():
        if why != BINARY:
            say(f"  left out {pool.job.names[number]}: {why}", "yellow")
    say(
        f"  {len(pool.index.words):,} words in"
        f" {together.total - len(left_out):,} files,"
        f" {together.size / 1e6:.1f} MB of text;"
        f" {len(left_out):,} binary or unreadable files left out"
    )
    for name, run in ("actors", together), ("sequential", alone):
        speed = run.size / run.seconds / 1e6
        say(f"  {name:<12}{run.seconds:7.2f} s  {speed:7.1f} MB/s")
    say(f"  {'speed-up':<12}{alone.seconds / together.seconds:7.2f} times")
    say(
        f"  {'asks':<12}{pool.attempts.total():7,}, of which"
        f" {together.failed} failed with ActorDown and were asked again"
    )
    say()
    say("  The most frequent words", "bold")
    for word, count in pool.index.most_frequent(10):
        say(f"  {count:>12,}  {word}")
    say()


def compare(pool: Pool, index: Index) -> int:
    """Say whether the index of *pool* is *index*; return the exit status."""
    different = pool.index.differences(index)
    if not different:
        pool.display.say("The two indexes are equal.", "green")
        return 0
    pool.display.say(
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
    pool = Pool(job, display, kill)
    asyncio.run(in_parallel(pool, workers))
    display.say("Indexing them again without actors", "bold")
    index, alone = in_sequence(job, display)
    report(pool, alone)
    return compare(pool, index)


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
        default=len(os.sched_getaffinity(0)),
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
    except (Failed, pn.PulsarException) as error:
        print(f"word_index: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nword_index: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
