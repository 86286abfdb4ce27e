"""The parts of docs/examples/word_index.py that need no actors."""

from __future__ import annotations

import asyncio
import collections
import gc
import importlib.util
import io
import logging
import os
import random
import sys
from pathlib import Path

import pytest

import pulsar_native

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def load(name):
    """Import an example by its path."""
    spec = importlib.util.spec_from_file_location(
        name, EXAMPLES / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


display = load("word_index_display")
example = load("word_index")


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal, or not."""

    def __init__(self, tty, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.tty = tty

    def isatty(self):
        return self.tty

    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def tree(tmp_path):
    """A small folder with a file of every kind."""
    (tmp_path / "a.txt").write_text("one two two\nthree_three threeThree")
    (tmp_path / "binary").write_bytes(b"one\0two")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "latin").write_bytes(
        "caf\u00e9 cr\u00e8me one".encode("latin-1")
    )
    inner = tmp_path / "inner" / "most"
    inner.mkdir(parents=True)
    (inner / "z.py").write_text("\u00c9t\u00e9 = 'HTTPServer'")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.txt").write_text("never")
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_walk_lists_regular_files_in_order_and_enters_no_links(tree):
    files, errors = example.walk(str(tree))
    assert [name for name, _ in files] == [
        "a.txt",
        "binary",
        "empty",
        "latin",
        os.path.join("inner", "most", "z.py"),
    ]
    assert dict(files)["binary"] == 7
    assert errors == []


def test_walk_enters_no_skipped_folder(tree):
    files, _ = example.walk(str(tree), {"inner"})
    names = [name for name, _ in files]
    assert os.path.join("__pycache__", "a.txt") in names
    assert not any(name.startswith("inner") for name in names)


def test_walk_reports_what_it_cannot_read(tmp_path):
    files, errors = example.walk(str(tmp_path / "missing"))
    assert files == []
    assert len(errors) == 1
    assert "missing: No such file" in errors[0]


def test_batches_cover_every_file_once_within_the_limit():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(200):
        sizes = [
            rng.choice((0, 1, 10, 99, 500)) for _ in range(rng.randrange(40))
        ]
        limit = rng.randrange(300)
        ranges = example.batches(sizes, limit)
        assert [n for batch in ranges for n in batch] == list(
            range(len(sizes))
        )
        for batch in ranges:
            size = sum(sizes[batch.start : batch.stop])
            assert len(batch) == 1 or size <= limit


def test_words_are_letters_split_at_case_and_folded():
    text = "Hello_world x 2nd someWord HTTPServer Stra\u00dfe \u00c9t\u00e9"
    assert set(example.count_words(text.encode())) == {
        "hello",
        "world",
        "nd",
        "some",
        "word",
        "http",
        "server",
        "strasse",
        "\u00e9t\u00e9",
    }


def test_words_are_counted():
    assert example.count_words(b"to be or not to BE")["be"] == 2


def test_bytes_that_are_not_utf8_part_words():
    counts = example.count_words(b"caf\xe9 cr\xe8me")
    assert counts == {"caf": 1, "cr": 1, "me": 1}


def test_a_nul_byte_anywhere_makes_a_file_binary(tmp_path):
    file = tmp_path / "late"
    file.write_bytes(b"word " * 50_000 + b"\0")
    assert example.read_text(str(file)) is None


def test_long_text_is_read_whole(tmp_path):
    file = tmp_path / "long"
    file.write_bytes(b"word " * 50_000)
    assert example.read_text(str(file)) == b"word " * 50_000


def test_a_batch_is_numbered_from_its_first_file(tree):
    names = ["a.txt", "binary", "empty", "vanished"]
    words, left_out, size = example.index_files(str(tree), 10, names)
    assert words == {"one": {10: 1}, "two": {10: 2}, "three": {10: 4}}
    assert left_out == {11: "binary", 13: "No such file or directory"}
    assert size == (tree / "a.txt").stat().st_size


def parts():
    return [
        ({"a": {0: 1}, "b": {1: 2}}, {2: "binary"}),
        ({"a": {3: 4}}, {}),
        ({"a": {5: 1}, "c": {5: 1}}, {6: "binary"}),
    ]


def test_merging_in_any_order_gives_the_same_index():
    index, other = example.Index(), example.Index()
    for part in parts():
        index.merge(*part)
    for part in reversed(parts()):
        other.merge(*part)
    assert index == other
    assert index.words["a"] == {0: 1, 3: 4, 5: 1}
    assert index.left_out == {2: "binary", 6: "binary"}


def test_merging_twice_changes_nothing():
    index, other = example.Index(), example.Index()
    for part in parts():
        index.merge(*part)
    for part in parts() + parts():
        other.merge(*part)
    assert index == other
    assert index.differences(other) == []


def test_differences_names_words_and_files():
    index, other = example.Index(), example.Index()
    index.merge({"a": {0: 1}, "b": {0: 1}}, {})
    other.merge({"a": {0: 2}, "b": {0: 1}, "c": {1: 1}}, {7: "binary"})
    assert index.differences(other) == ["a", "c", "7"]
    assert other.differences(index) == ["a", "c", "7"]


def test_most_frequent_counts_all_files_and_breaks_ties_by_word():
    index = example.Index()
    index.merge({"x": {0: 1, 1: 1}, "b": {0: 5}, "a": {1: 2}, "y": {0: 1}}, {})
    assert index.most_frequent(3) == [("b", 5), ("a", 2), ("x", 2)]


def test_batches_of_a_folder_give_the_index_of_its_files(tree):
    job = example.prepare(str(tree), (), 2)
    assert len(job.batches) > 2
    names = [name for name, _ in example.walk(str(tree), ())[0]]
    words, left_out, _ = example.index_files(str(tree), 0, names)
    quiet = display.Display(Terminal(False), {})
    index, progress = example.in_sequence(job, quiet)
    assert index == example.Index(words, left_out)
    assert progress.files == progress.total == len(names)


@pytest.mark.parametrize("name", ["missing", "empty", "latin"])
def test_a_folder_without_files_is_refused(tree, name):
    (tree / "empty").unlink()
    (tree / "empty").mkdir()
    with pytest.raises(example.BadFolder, match=name):
        example.prepare(str(tree / name), (), 2)


# ---- The pool, of actors that are no processes ----


def pool_run(tree, monkeypatch, dies, workers=2):
    """Index *tree* with actors that die where `dies(first, attempt)` says so;
    what was done, and how often each batch was begun."""
    begun = collections.Counter()

    def index_files(folder, first, names):
        begun[first] += 1
        if dies(first, begun[first]):
            raise SystemExit(1)
        return index_here(folder, first, names)

    index_here = example.index_files
    monkeypatch.setenv("PULSAR_NATIVE_KIND", "coroutine")
    monkeypatch.setattr(example, "index_files", index_files)
    job = example.prepare(str(tree), (), workers)
    stream = Terminal(False)
    indexing = example.Indexing(job, display.Display(stream, {}), kill=False)
    complaints = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, what: complaints.append(what))
        try:
            await indexing.run(workers)
        finally:
            gc.collect()

    try:
        asyncio.run(main())
    finally:
        monkeypatch.setattr(example, "index_files", index_here)
        assert complaints == []
    index, _ = example.in_sequence(job, display.Display(Terminal(False), {}))
    assert indexing.index == index
    assert indexing.progress.files == len(job.names)
    assert {row.state for row in indexing.workers.values()} == {"stopped"}
    return indexing, begun, stream.text()


def test_without_deaths_every_batch_is_asked_once(tree, monkeypatch):
    indexing, begun, _ = pool_run(
        tree, monkeypatch, lambda first, attempt: False
    )
    assert set(begun.values()) == {1}
    assert set(indexing.workers) == {"indexer-0", "indexer-1"}
    assert indexing.progress.failed == 0


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_what_a_dead_worker_owed_is_asked_again(tree, monkeypatch, workers):
    indexing, begun, told = pool_run(
        tree,
        monkeypatch,
        lambda first, attempt: first in (0, 4) and attempt == 1,
        workers,
    )
    assert begun[0] == begun[4] == 2
    assert indexing.progress.failed >= 2
    assert told.count("is seen dead: SystemExit: 1") == 2
    rows = indexing.workers.values()
    assert sum(row.generation for row in rows) == 2
    assert told.count("is up again") == 2


def test_files_that_end_every_worker_end_the_job(tree, monkeypatch):
    with pytest.raises(pulsar_native.RestartsExceeded, match="indexers"):
        pool_run(tree, monkeypatch, lambda first, attempt: first == 4)


# ---- The display ----


def half_way():
    return display.Progress(
        total=2000, files=1000, size=30_000_000, answers=50, seconds=2.0
    )


def rows(count):
    return [
        display.Row(f"indexer-{n + 1}", "running", 4000 + n, 3, 10)
        for n in range(count)
    ]


def plain_text(line):
    return display.paint(line, colour=False)


def test_summary_tells_share_and_rates():
    text = display.summary(half_way(), asks=True)
    assert " 50%  1,000 of 2,000 files  15.0 MB/s  25 asks/s" in text
    assert "asks" not in display.summary(half_way(), asks=False)


def test_plain_line_tells_the_state_of_each_worker():
    workers = rows(2)
    workers[0].state = "killed"
    text = display.plain(half_way(), workers)
    assert text.endswith("(indexer-1 killed 10; indexer-2 running 10)")


@pytest.mark.parametrize("columns", [0, 1, 10, 40, 79, 80, 200])
@pytest.mark.parametrize("height", [1, 3, 24])
def test_drawing_fits_the_terminal(columns, height):
    lines = display.render(half_way(), rows(8), columns, height)
    assert 1 <= len(lines) <= height
    assert all(len(plain_text(line)) <= columns for line in lines)


def test_bar_is_half_full_half_way():
    (bar,) = display.render(half_way(), [], 120, 24, "#-*")
    assert plain_text(bar).startswith("  " + "#" * 20 + "-" * 20 + " ")


def test_the_last_workers_are_drawn_where_all_do_not_fit():
    lines = display.render(half_way(), rows(8), 80, 3)
    assert ["indexer-7" in plain_text(line) for line in lines] == [0, 1, 0]
    assert "indexer-8" in plain_text(lines[2])


def test_every_state_of_a_worker_has_a_style():
    assert set(display.STATES.values()) <= set(display.STYLES)


def test_painting_without_colour_adds_nothing():
    assert display.paint([("red", "a"), ("", "b")], colour=False) == "ab"
    painted = display.paint([("red", "a"), ("", "b")], colour=True)
    assert painted == "\x1b[1;31ma\x1b[mb"


@pytest.mark.parametrize(
    ("tty", "environ", "live", "colour"),
    [
        (True, {"TERM": "xterm"}, True, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        (True, {"TERM": "dumb"}, False, False),
        (True, {}, False, False),
        (False, {"TERM": "xterm"}, False, False),
    ],
)
def test_terminal_and_environment_choose_the_display(
    tty, environ, live, colour
):
    chosen = display.Display(Terminal(tty), environ)
    assert (chosen.live, chosen.colour) == (live, colour)


def test_redrawing_goes_back_to_the_first_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    stream = Terminal(True)
    shown = display.Display(stream, {"TERM": "xterm", "NO_COLOR": "1"})
    with shown.drawing(half_way(), rows(2)):
        shown.draw(half_way(), rows(2))
        shown.say("news")
    first, second, third = stream.text().split("\x1b[3A")
    assert first.count("\n") == 3
    assert second.startswith("\x1b[Jnews\n")
    assert second.count("\n") == 4
    assert third.count("\n") == 3


def test_drawings_are_not_closer_than_the_period(monkeypatch):
    now = 100.0
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    stream = Terminal(False)
    shown = display.Display(stream, {})
    with shown.drawing(half_way(), []):
        for _ in range(25):
            shown.show(half_way(), [])
            now += 0.1
        assert stream.text().count("\n") == 2
    assert stream.text().count("\n") == 3


def test_what_cannot_be_encoded_does_not_stop_the_display():
    stream = Terminal(False, "ascii")
    display.Display(stream, {}).say("caf\u00e9 \udcff")
    assert stream.text() == "caf? ?\n"


def test_log_records_are_said_above_the_drawing():
    stream = Terminal(True)
    shown = display.Display(stream, {"TERM": "xterm", "NO_COLOR": "1"})
    logger = logging.Logger("alone")
    logger.addHandler(display.Records(shown))
    with shown.drawing(half_way(), []):
        shown.draw(half_way(), [])
        logger.warning("beware of %s", "bears")
    assert "\x1b[1A\x1b[J  beware of bears\n" in stream.text()


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_number_of_workers_is_positive(text, capsys):
    with pytest.raises(SystemExit) as info:
        example.main(["--workers", text])
    assert info.value.code == 2
    assert "--workers" in capsys.readouterr().err
