"""What the documents say is so: their programs run, their tables agree.

A block ```python of README.md or the tutorial is a program; one ```python
continues goes on with the block before; one ```python test is a file for
pytest. A block ```text right after a program is what it prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import pulsar_native
from pulsar_native import websocket

ROOT = Path(__file__).resolve().parents[2]
TOLD = [
    ROOT / "README.md",
    ROOT / "docs" / "tutorial.md",
    ROOT / "docs" / "service.md",
]
PATIENCE = 60  # seconds until a program is taken to hang
BLOCK = re.compile(r"^```(\w+)[ ]?(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Program:
    """A program of a document, and what it prints (None: not told)."""

    where: str
    kind: str
    text: str
    output: str | None = None


def programs(document: Path) -> list[Program]:
    """The programs of a document, in its order."""
    name = document.relative_to(ROOT).as_posix()
    return programs_in(document.read_text(), name)


def programs_in(text: str, name: str) -> list[Program]:
    found: list[Program] = []
    end = 0  # of the last program
    for block in BLOCK.finditer(text):
        language, mark, body = block.groups()
        line = text.count("\n", 0, block.start()) + 1
        if language == "python" and mark == "continues":
            found[-1].text += body
        elif language == "python":
            assert mark in ("", "test"), f"line {line}: unknown mark {mark}"
            found.append(Program(f"{name}:{line}", mark, body))
        elif language == "text" and not text[end : block.start()].strip():
            found[-1].output = body
        if language == "python":
            end = block.end()
    return found


ALL = [program for document in TOLD for program in programs(document)]


def run(program: Program, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / ("test_told.py" if program.kind == "test" else "told.py")
    path.write_text(program.text)
    pytest_ = ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir", "."]
    return subprocess.run(
        [sys.executable, *(pytest_ if program.kind else []), str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.where)
def test_programs_run_and_print_what_is_told(
    program: Program, tmp_path: Path
) -> None:
    done = run(program, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if program.kind != "test":  # whose other plugins may warn
        assert done.stderr in ("", "\nBye (exit code = 0)\n")
    if program.output is not None:
        assert done.stdout == program.output


def test_each_document_with_programs_has_some() -> None:
    for document in TOLD:
        assert programs(document), document


def test_a_marked_block_goes_on_with_the_one_before() -> None:
    text = "```python\na = 1\n```\nand\n```python continues\nprint(a)\n```\n"
    (only,) = programs_in(text + "\n```text\n1\n```\n", "x.md")
    assert (only.text, only.output) == ("a = 1\nprint(a)\n", "1\n")


def test_every_public_name_stands_in_the_api() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    names = {*pulsar_native.__all__, *websocket.__all__}
    told = {
        word
        for code in re.findall(r"`([^`\n]+)`|^### (\w+)", text, re.M)
        for part in code
        for word in re.findall(r"\w+", part)
    }
    assert sorted(names - told) == []


def test_the_table_of_settings_is_that_of_config() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    section = text.partition("## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", section, re.M)
    told = {name: eval(value) for name, value in rows}
    assert told == pulsar_native.Config().settings


def test_the_table_of_kinds_is_that_of_the_header() -> None:
    header = (ROOT / "csrc" / "mailbox" / "envelope.h").read_text()
    kinds = dict(re.findall(r"^    PN_([A-Z]+) = (\d+),", header, re.M))
    text = (ROOT / "docs" / "protocol.md").read_text()
    rows = re.findall(r"^\| ([A-Z]+) \| (\d+) \| (\w+) \|", text, re.M)
    assert {name: number for name, number, _ in rows} == kinds
    last = int(re.search(r"LAST_CONTROL = (\d+)", header)[1])
    for name, number, lane in rows:
        assert lane == ("control" if int(number) <= last else "payload"), name


def test_signatures_in_the_api_name_real_functions() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for name in re.findall(r"^```\n(?:async )?(\w+)\(", text, re.M):
        assert callable(getattr(pulsar_native, name)), name
