"""Each example runs as its users run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PATIENCE = 60  # seconds until a run is taken to hang


def environment(**changes):
    """The environment of a run: no terminal's habits of ours."""
    keep = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR",)}
    return {**keep, "PYTHONIOENCODING": "utf-8", **changes}


def run(name, *args):
    """Run an example to its end."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, args)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        env=environment(),
    )


def living(group):
    """The processes of a group that are not zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def gone(group):
    """Wait until no process of *group* is left; say if that came."""
    deadline = time.monotonic() + 10
    while living(group):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def folder(tmp_path):
    """Text, and what is not text, in 40 files and some folders."""
    for number in range(36):
        inner = tmp_path / f"f{number % 5}"
        inner.mkdir(exist_ok=True)
        text = f"common word{chr(97 + number % 26)}Tail " * 40
        (inner / f"{number}.txt").write_text(text)
    (tmp_path / "binary").write_bytes(b"\x7fELF\0common")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "latin").write_bytes("caf\u00e9 common".encode("latin-1"))
    (tmp_path / "f0" / "utf").write_text("\u00e9t\u00e9 common", "utf-8")
    return tmp_path


@pytest.fixture
def big_folder(tmp_path):
    """Enough text to be busy with for some seconds."""
    text = " ".join(
        f"word{chr(97 + n % 26)} some{n}Where" for n in range(2000)
    )
    for number in range(400):
        (tmp_path / f"{number}.txt").write_text(text)
    return tmp_path


def test_echo():
    done = run("echo.py")
    assert done.stdout.splitlines() == [
        "hello",
        "hello alice (from alice to arbiter)",
        "hello bob (from bob to alice)",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_echo_server():
    done = run("echo_server.py")
    assert done.stdout.splitlines() == [
        "echo listens on 127.0.0.1, a free port",
        "echo: hello",
        "echo: anybody there?",
    ]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_word_index_survives_the_death_of_a_worker(folder, workers):
    done = run("word_index.py", folder, "--workers", workers)
    out = done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        f"40 files below {folder} with {workers} supervised worker actors"
        in out
    )
    assert "gets SIGKILL" in out
    assert "words in 39 files" in out
    assert "1 binary or unreadable files left out" in out
    assert re.search(r"1,442  common\n +1,440  tail\n", out)
    assert "The two indexes are equal." in out
    assert "\x1b" not in out


def test_word_index_tells_of_a_killed_worker_and_its_successor(big_folder):
    done = run("word_index.py", big_folder, "--workers", 2)
    assert (done.returncode, done.stderr) == (0, "")
    story = re.search(
        r"  2 started in \d+ ms\n"
        r"(?s:.*)  (indexer-\d) \(pid (\d+)\) gets SIGKILL\n"
        r"(?s:.*)  \1 is seen dead after [\d.]+ ms: killed by SIGKILL\n"
        r"(?s:.*)  \1 is up again \d+ ms later: pid (\d+), generation 1;"
        r" asks repeated: (\d)\n"
        r"(?s:.*) 100% .*0 stopped .*1 stopped ",
        done.stdout,
    )
    assert story is not None
    assert story[2] != story[3]
    assert f" {story[4]} failed with ActorDown" in done.stdout


def test_word_index_kills_nobody_if_told_so(folder):
    done = run("word_index.py", folder, "--workers", 2, "--no-kill")
    assert (done.returncode, done.stderr) == (0, "")
    assert "SIGKILL" not in done.stdout
    assert " 0 failed with ActorDown" in done.stdout


def test_word_index_without_files_says_so(tmp_path):
    done = run("word_index.py", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"word_index: no files below {tmp_path}\n"


def test_word_index_without_folder_says_so(tmp_path):
    done = run("word_index.py", tmp_path / "missing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"word_index: no such folder: {tmp_path}/missing\n"


@pytest.mark.parametrize("moment", ["Indexing", "SIGKILL", "again without"])
def test_ctrl_c_ends_word_index_cleanly(big_folder, moment):
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "word_index.py"), str(big_folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment(),
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            if moment in line:
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        try:
            _, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert (process.returncode, err) == (
            130,
            "\nword_index: interrupted\n",
        )
        assert gone(process.pid)
