"""The payload of DOWN: how an actor's end is told."""

from __future__ import annotations

import pytest

from pulsar_native._native import dump_down, load_down
from pulsar_native.exceptions import ProtocolError


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
    assert load_down(dump_down(*end)) == end


def test_text_that_is_no_utf8_is_replaced() -> None:
    assert load_down(dump_down("a\ud800", 1, None))[0] == "a?"
    assert load_down(bytes(8) + b"a\xff")[0] == "a\ufffd"


def test_any_buffer_is_loaded() -> None:
    data = dump_down("gone", 3, None)
    for view in (bytearray(data), memoryview(data)):
        assert load_down(view) == ("gone", 3, None)


@pytest.mark.parametrize("size", range(8))
def test_what_is_cut_short_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError):
        load_down(bytes(size))


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(OverflowError):
        dump_down("", 2**31, None)
    with pytest.raises(TypeError):
        dump_down("", None, "9")  # type: ignore[arg-type]
