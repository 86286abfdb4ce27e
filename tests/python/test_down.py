"""The payload of DOWN: how an actor's end is told."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pulsar_native._down import Down
from pulsar_native._native import dump_down, load_down
from pulsar_native.exceptions import ActorDown, ProtocolError

NOTHING = (False, False, "", "", None)


@pytest.mark.parametrize(
    "end",
    [
        ("", None, None),
        ("stopped", 0, None),
        ("killed by SIGKILL", None, 9),
        ("zu spät", -(2**31) + 1, 2**31 - 1),
        ("nul \0 inside", 255, None),
    ],
)
def test_an_end_comes_back_as_it_went(
    end: tuple[str, int | None, int | None],
) -> None:
    assert load_down(dump_down(*end)) == (*end, *NOTHING)


@pytest.mark.parametrize("core", [False, True])
@pytest.mark.parametrize("oom", [False, True, None])
@pytest.mark.parametrize("output", ["", "the ä last"])
@pytest.mark.parametrize("traceback", ["", "Traceback\nü"])
@pytest.mark.parametrize("begun", [None, (), (1, 2**64 - 1)])
def test_all_that_is_known_comes_back(
    core: bool,
    oom: bool | None,
    output: str,
    traceback: str,
    begun: tuple[int, ...] | None,
) -> None:
    end = ("killed", None, 11, core, oom, output, traceback, begun)
    assert load_down(dump_down(*end)) == end


def test_text_that_is_no_utf8_is_replaced() -> None:
    assert load_down(dump_down("a\ud800", 1, None))[0] == "a?"
    data = dump_down("aX", None, None)
    assert load_down(data.replace(b"X", b"\xff"))[0] == "a\ufffd"


def test_any_buffer_is_loaded() -> None:
    data = dump_down("gone", 3, None)
    for view in (bytearray(data), memoryview(data)):
        assert load_down(view)[:3] == ("gone", 3, None)


@pytest.mark.parametrize("size", range(24))
def test_what_is_cut_short_is_refused(size: int) -> None:
    data = dump_down("gone", 3, None, True, None, "out", "")
    with pytest.raises(ProtocolError):
        load_down(data[:size])


@pytest.mark.parametrize("at", [8, 9, 10, 11])
def test_what_cannot_be_is_refused(at: int) -> None:
    data = bytearray(dump_down("gone", 3, None))
    data[at] = 3
    with pytest.raises(ProtocolError):
        load_down(data)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(OverflowError):
        dump_down("", 2**31, None)
    with pytest.raises(TypeError):
        dump_down("", None, "9")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        dump_down("", None, None, False, False, b"")  # type: ignore[arg-type]


def report(**more: Any) -> Down:
    return Down("aid", "name", 7, "gone", None, 9, True, None, **more)


def test_a_report_tells_of_itself_what_an_exception_has() -> None:
    down = report(stderr="x" * 9000 + "end", traceback="Traceback")
    back = Down.load(down.dump(10**6), "aid", "name", 7)
    error = back.error()
    assert str(error) == "actor aid is down: gone"
    assert (error.signal, error.core, error.oom) == (9, True, None)
    assert error.output.endswith("xend") and len(error.output) == 4096
    assert error.traceback == "Traceback"
    assert repr(error) == repr(down.error())


def test_a_node_that_takes_little_hears_less() -> None:
    down = report(stderr="x" * 9000, traceback="T" * 9000)
    assert len(down.dump(1000)) < 1000
    back = Down.load(down.dump(1000), "aid", "name", 7)
    assert (back.reason, back.signal, back.stderr) == ("gone", 9, "")


def test_the_exception_of_an_end_travels_whole() -> None:
    error = ActorDown("aid", "gone", None, 9, True, None, "out", "text")
    back = pickle.loads(pickle.dumps(error))
    assert vars(back) == vars(error)
