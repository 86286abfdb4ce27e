"""The shape of the tree: layers, sizes, contracts. Nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

# What each room of csrc may include, besides itself.
MAY_INCLUDE = {
    "base": set(),
    "ws": {"base"},
    "mailbox": {"base", "ws"},
    "actor": {"base"},
    "sys": {"base", "ws", "mailbox", "actor"},
    "loop": {"base", "ws", "mailbox", "actor", "sys"},
    "python": {"base", "ws", "mailbox", "actor", "sys", "loop"},
}
# Who alone may include these.
OWNERS = {"Python.h": "python", "structmember.h": "python", "uv.h": "loop"}

MAX_FUNCTION = 60
MAX_FILE = 500
MAX_COLUMNS = 79

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.~})/])/(?:home|mnt|root|Users|work)/\w")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def engine_files(pattern: str) -> list[Path]:
    return sorted(CSRC.glob(f"*/{pattern}"))


def core_files() -> list[Path]:
    """What the C tests test; csrc/python is tested from Python."""
    files = engine_files("*.c")
    return [path for path in files if path.parent.name != "python"]


def c_files() -> list[Path]:
    folders = (CSRC, ROOT / "tests" / "c", ROOT / "tests" / "fuzz")
    return sorted(path for top in folders for path in top.rglob("*.[ch]"))


def functions(text: str) -> Iterator[tuple[str, int]]:
    """First line and length of each function, its signature included.

    Relies on the style: a body opens and closes in the first column.
    """
    lines = text.splitlines()
    opened = None
    for number, line in enumerate(lines):
        if line == "{":
            opened = number
            while opened and re.match(r"[\w*\s]", lines[opened - 1]):
                opened -= 1
        elif line == "}" and opened is not None:
            yield lines[opened], number + 1 - opened
            opened = None


@pytest.mark.parametrize("path", engine_files("*.[ch]"), ids=relative)
def test_layers_include_only_what_lies_below(path: Path) -> None:
    room = path.parent.name
    for name in INCLUDE.findall(path.read_text()):
        assert OWNERS.get(name, room) == room, f"{room} includes {name}"
        if (CSRC / name).exists() and "/" in name:
            below = name.split("/")[0]
            assert below == room or below in MAY_INCLUDE[room], (
                f"{room} includes {name}"
            )


@pytest.mark.parametrize("path", engine_files("*.h"), ids=relative)
def test_headers_begin_with_their_contract(path: Path) -> None:
    comment = re.match(r"/\*(.*?)\*/", path.read_text(), re.DOTALL)
    assert comment, "no comment at the top"
    assert len(comment[1].split()) >= 5, "the comment says nothing"


@pytest.mark.parametrize("path", core_files(), ids=relative)
def test_engine_files_have_a_c_test_of_their_name(path: Path) -> None:
    test = ROOT / "tests" / "c" / f"{path.stem}_test.c"
    assert test.exists(), f"{relative(test)} is missing"


@pytest.mark.parametrize("path", c_files(), ids=relative)
def test_c_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    lines = len(text.splitlines())
    assert lines <= MAX_FILE
    wide = [line for line in text.splitlines() if len(line) > MAX_COLUMNS]
    assert not wide
    long = [found for found in functions(text) if found[1] > MAX_FUNCTION]
    assert not long


def test_length_of_functions_is_measured_from_the_return_type() -> None:
    text = "int x;\n\nstatic int\nf(int a,\n  int b)\n{\n    return a;\n}\n"
    assert list(functions(text)) == [("static int", 6)]


def commands_of(path: Path) -> Iterator[str]:
    """Names of the commands that importing this file registers for all."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            made_by = {
                ast.unparse(d).split("(")[0] for d in node.decorator_list
            }
            if made_by & {"command", "pn.command"}:
                yield node.name


def test_no_two_files_of_tests_register_a_command_of_one_name() -> None:
    owners: dict[str, str] = {"shadowed": ""}  # on purpose
    for path in sorted((ROOT / "tests" / "python").glob("*.py")):
        for name in commands_of(path):
            assert name == "shadowed" or name not in owners, (
                f"{name} is in {owners[name]} and in {path.name}"
            )
            owners[name] = path.name


def test_no_file_names_a_path_of_one_machine() -> None:
    tops = ("csrc", "pulsar_native", "tests", "docs", "benchmarks")
    files = [path for top in tops for path in (ROOT / top).rglob("*")]
    files += [path for path in ROOT.iterdir() if path.suffix != ".lock"]
    kinds = {".c", ".h", ".py", ".pyi", ".md", ".txt", ".json", ".toml", ""}
    wrong = [
        f"{relative(path)}: {found[0]}"
        for path in files
        if path.is_file() and path.suffix in kinds
        for found in MACHINE_PATH.finditer(path.read_text(errors="replace"))
    ]
    assert not wrong
