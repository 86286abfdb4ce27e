"""Small plain values travel in an encoding of our own."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pulsar_native._native import dump_plain, load_plain

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars, lambda items: st.lists(items, max_size=6).map(tuple)
)
calls = st.tuples(
    values.map(lambda item: (item,)), st.dictionaries(st.text(), values)
)


def same(one: object, other: object) -> bool:
    """Equal, of equal types throughout."""
    return pickle.dumps(one) == pickle.dumps(other) or (
        repr(one) == repr(other)
    )


@given(values)
@example(-1)
@example(255)
@example(256)
@example(-(2**63))
@example(2**63 - 1)
@example(math.nan)
@example("\u00fc" * 100)
@example(b"x" * 253)
def test_what_is_plain_comes_back_as_it_was(value):
    data = dump_plain(value)
    if data is not None:
        assert len(data) <= 256
        assert data[0] < 0x80  # a pickle begins with 0x80
        assert same(load_plain(data), value)


@given(calls)
def test_arguments_with_keywords_come_back_as_they_were(call):
    data = dump_plain(list(call))
    if data is not None:
        assert same(load_plain(data), list(call))


@pytest.mark.parametrize(
    "value",
    [0, True, None, 1.5, "text", b"bytes", (), (1, (2, ("3",))), [(1,), {}]],
)
def test_small_values_are_plain(value):
    assert dump_plain(value) is not None


class Number(int):
    pass


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        "x" * 300,
        b"x" * 300,
        "\ud800",
        [],
        {},
        [(1,), {1: 2}],
        [(1,), {"a": []}],
        ([],),
        Number(1),
        (((((1,),),),),),
        tuple(range(300)),
        len,
    ],
)
def test_the_rest_is_left_to_pickle(value):
    assert dump_plain(value) is None


@given(st.binary(max_size=40))
@example(b"(\xff" * 200)
@example(b"[")
@example(b"[(\x00")
@example(b"[(\x00\x01N")
@example(b"s\x01\xff")
def test_any_bytes_are_a_value_or_refused(data):
    # Oracle: what was read can be written again, and reads the same.
    try:
        value = load_plain(data)
    except ValueError:
        return
    again = dump_plain(value)
    assert again is not None
    assert same(load_plain(again), value)


@given(values.map(dump_plain).filter(lambda data: data is not None))
def test_no_part_of_a_value_is_one(data):
    for size in range(len(data)):
        with pytest.raises(ValueError, match="malformed"):
            load_plain(data[:size])
    with pytest.raises(ValueError, match="malformed"):
        load_plain(data + b"N")
