"""Values whose large memory lies beside their pickle: what goes there, that
it arrives as it was, and that nothing malformed does harm."""

from __future__ import annotations

import array
import ctypes
import gc
import io
import pickle
import random
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulsar_native import _memory, _native, _pickling

LARGE = _memory.LEAST
ALIGNMENT = 64


def carried(value: object) -> tuple[Any, tuple[int, ...]]:
    """*value* as it arrives, and the sizes of what went out of band."""
    payload, sizes = _native.dump_parcel(value, _pickling.dumps)
    return _native.load_parcel(payload, sizes, _pickling.loads), sizes


class Holder:
    """Memory in an object of a user's class, by protocol 5."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Holder, (pickle.PickleBuffer(self.memory),)


# --- what arrives ---


def test_plain_values_have_no_buffers() -> None:
    for value in (1, "text", (1, [b"x" * 100_000]), {"k": bytearray(10**5)}):
        assert carried(value) == (value, ())


def test_large_memory_goes_out_of_band_and_arrives_writable() -> None:
    source = bytearray(random.randbytes(LARGE + 5))
    holder, sizes = carried(Holder(source))
    assert sizes == (LARGE + 5,)
    view = memoryview(holder.memory)
    assert view == source
    assert not view.readonly
    view[0] ^= 1
    assert view != source


def test_small_memory_is_pickled() -> None:
    holder, sizes = carried(Holder(bytearray(LARGE - 1)))
    assert sizes == ()
    assert type(holder.memory) is bytearray


def test_memory_that_the_sender_may_not_write_arrives_so() -> None:
    holder, sizes = carried(Holder(bytes(LARGE)))
    assert sizes == (LARGE,)
    assert memoryview(holder.memory).readonly


def test_buffers_over_the_limit_are_pickled() -> None:
    count = _memory.MOST + 5
    holders = [Holder(bytearray([i]) * LARGE) for i in range(count)]
    found, sizes = carried(holders)
    assert len(sizes) == _memory.MOST
    assert [bytes(h.memory) for h in found] == [
        bytes(h.memory) for h in holders
    ]


def test_parts_are_aligned() -> None:
    source = [Holder(bytearray(LARGE + n)) for n in (0, 1, 63, 64)]
    payload, sizes = _native.dump_parcel(source, _pickling.dumps)
    assert len(payload) % ALIGNMENT == 0
    found = _native.load_parcel(payload, sizes, _pickling.loads)
    for holder in found:
        first = ctypes.c_char.from_buffer(holder.memory)
        assert ctypes.addressof(first) % ALIGNMENT == 0


def test_one_buffer_twice_arrives_as_two_equal_ones() -> None:
    shared = bytearray(LARGE)
    (one, two), sizes = carried((Holder(shared), Holder(shared)))
    assert len(sizes) == 2
    assert bytes(one.memory) == bytes(two.memory) == bytes(shared)


def test_what_arrived_can_be_sent_on() -> None:
    first, _ = carried(Holder(bytearray(b"x" * LARGE)))
    second, sizes = carried(first)
    assert sizes == (LARGE,)
    memoryview(first.memory)[0] = 0
    assert bytes(second.memory) == b"x" * LARGE


@given(
    st.lists(st.integers(0, 3 * LARGE), max_size=8), st.integers(0, 2**32 - 1)
)
def test_any_sizes_arrive_as_they_were(sizes: list[int], seed: int) -> None:
    source = random.Random(seed)
    blocks = [source.randbytes(size) for size in sizes]
    found, told = carried([Holder(bytearray(block)) for block in blocks])
    assert [bytes(holder.memory) for holder in found] == blocks
    assert told == tuple(size for size in sizes if size >= LARGE)


# --- memoryviews ---


@pytest.mark.parametrize("size", [0, 8, LARGE, 5 * LARGE])
@pytest.mark.parametrize("make", [bytes, bytearray])
def test_memoryviews_arrive_writable_and_owned(
    size: int, make: Callable[[bytes], Any]
) -> None:
    source = random.randbytes(size)
    view, sizes = carried(memoryview(make(source)))
    assert type(view) is memoryview
    assert view == source
    assert not view.readonly
    assert len(sizes) == (size >= LARGE)
    if size:
        view[-1] ^= 0xFF
        assert view != source


def test_formats_and_shapes_of_memoryviews_arrive() -> None:
    numbers = array.array("d", range(6000))
    flat = memoryview(numbers)
    for source in (
        flat,
        flat[::2],
        flat[::-1],
        flat.cast("B").cast("d", (60, 100)),
        flat.cast("B").cast("q", (10, 20, 30)),
        flat[:4].cast("B").cast("I", (2, 4)),
    ):
        found, _ = carried(source)
        assert found.format == source.format
        assert found.shape == source.shape
        assert found.tolist() == source.tolist()
        assert not found.readonly


def test_memoryview_of_odd_items_is_refused() -> None:
    numpy = pytest.importorskip("numpy")
    odd = memoryview(numpy.zeros(3, dtype=[("a", "i4"), ("b", "f8")]))
    with pytest.raises(TypeError, match="cannot be sent"):
        carried(odd)


# --- NumPy ---


def arrays() -> list[Any]:
    numpy = pytest.importorskip("numpy")
    large = numpy.arange(100_000.0)
    return [
        large,
        large.reshape(100, 1000),
        numpy.asfortranarray(large.reshape(100, 1000)),
        large[::3],
        large.astype("i2"),
        large.astype("c16"),
        numpy.arange(10),
        numpy.zeros((0, 5)),
        numpy.array(3.5),
        numpy.zeros(5000, dtype=[("a", "i4"), ("b", "f8")]),
        numpy.array([{}, None, "text"], dtype=object),
    ]


def test_arrays_arrive_writable_aligned_and_equal() -> None:
    numpy = pytest.importorskip("numpy")
    for source in arrays():
        found, _ = carried(source)
        assert found.dtype == source.dtype
        assert found.shape == source.shape
        assert found.flags.writeable
        assert found.flags.aligned
        assert numpy.array_equal(found, source)
        assert not numpy.shares_memory(found, source)


def test_large_array_is_not_in_its_pickle() -> None:
    numpy = pytest.importorskip("numpy")
    buffers: list[memoryview] = []
    pickled = _pickling.dumps(numpy.zeros(10**6), buffers)
    assert len(pickled) < 1000
    assert [buffer.nbytes for buffer in buffers] == [8 * 10**6]


# --- whose memory it is ---


def test_memory_lives_as_long_as_its_last_view() -> None:
    found, _ = carried([Holder(bytearray(b"x" * LARGE)) for _ in range(3)])
    view = memoryview(found[1].memory)[5:10]
    del found
    gc.collect()
    assert bytes(view) == b"xxxxx"
    assert type(view.obj) is _native.Memory


def test_failing_loads_leave_nothing() -> None:
    def fail(data: Any, buffers: Any) -> Any:
        raise KeyError(len(buffers))

    payload, sizes = _native.dump_parcel(
        Holder(bytearray(LARGE)), _pickling.dumps
    )

    def fail_often() -> int:
        for _ in range(100):
            with pytest.raises(KeyError):
                _native.load_parcel(payload, sizes, fail)
        gc.collect()
        return sys.getrefcount(_native.Memory)

    before = fail_often()
    assert fail_often() <= before + 2  # what the last failure keeps


def test_sender_may_change_and_resize_what_it_has_sent() -> None:
    source = bytearray(b"x" * LARGE)
    payload, sizes = _native.dump_parcel(Holder(source), _pickling.dumps)
    source[:] = b"y" * LARGE
    source.clear()  # BufferError, if it were still looked at
    found = _native.load_parcel(payload, sizes, _pickling.loads)
    assert bytes(found.memory) == b"x" * LARGE


def test_failing_dumps_let_go_of_the_memory() -> None:
    class Memory(bytearray):
        """With weak references."""

    def fail(value: Any, buffers: list[memoryview]) -> bytes:
        buffers.append(memoryview(value))
        buffers.append("no memory")  # type: ignore[arg-type]
        return b"pickle"

    source = Memory(LARGE)
    with pytest.raises(TypeError):
        _native.dump_parcel(source, fail)
    source.append(1)
    reference = weakref.ref(source)
    del source
    gc.collect()
    assert reference() is None


def test_dumps_that_gives_too_many_buffers_is_refused() -> None:
    def many(value: Any, buffers: list[memoryview]) -> bytes:
        buffers += [memoryview(bytes(1))] * (_memory.MOST + 1)
        return b"pickle"

    with pytest.raises(ValueError, match="over 64"):
        _native.dump_parcel(object(), many)


def test_pickle_must_be_bytes() -> None:
    with pytest.raises(TypeError, match="bytes"):
        _native.dump_parcel(object(), lambda value, buffers: bytearray())


# --- malformed ---


@pytest.mark.parametrize(
    "sizes", [(10**6,), (2**64 - 1,), (300,) * 64, (LARGE, LARGE), (2**63,)]
)
def test_sizes_that_do_not_fit_are_refused(sizes: tuple[int, ...]) -> None:
    payload = bytes(LARGE)
    with pytest.raises(ValueError, match="longer than their payload"):
        _native.load_parcel(payload, sizes, _pickling.loads)


def test_too_few_buffers_are_a_pickling_error() -> None:
    payload, _ = _native.dump_parcel(
        [Holder(bytearray(LARGE)), Holder(bytearray(LARGE))], _pickling.dumps
    )
    with pytest.raises(pickle.UnpicklingError, match="buffers"):
        _native.load_parcel(payload, (LARGE,), _pickling.loads)


@given(st.binary(max_size=300), st.lists(st.integers(0, 2**64 - 1)))
def test_garbage_is_refused_without_harm(
    payload: bytes, sizes: list[int]
) -> None:
    def loads(data: Any, buffers: Any = ()) -> int:
        return len(data) + sum(len(bytes(one)) for one in buffers)

    try:
        found = _native.load_parcel(b"\x80" + payload, tuple(sizes), loads)
    except ValueError:
        return
    assert found <= 1 + len(payload)


def test_view_that_loads_keeps_is_taken_back() -> None:
    kept: list[Any] = []

    def loads(data: memoryview, buffers: Any) -> Any:
        kept.append(data)
        return io.BytesIO(data).read(1)

    payload, sizes = _native.dump_parcel(
        Holder(bytearray(LARGE)), _pickling.dumps
    )
    assert _native.load_parcel(payload, sizes, loads) == payload[:1]
    with pytest.raises(ValueError, match="released"):
        bytes(kept[0])
