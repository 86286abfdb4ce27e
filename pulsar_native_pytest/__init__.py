"""The pytest plugin of pulsar_native: the fixture ``actors``.

pytest imports every installed plugin at the start of every run, whatever it
tests. Importing pulsar_native takes some 30 ms, asyncio among them, so it must
wait for a test that asks for the fixture. As a module of that package the
plugin could not wait: its ``__init__`` would be imported first, and making
that lazy would cost everybody who reads, types or debugs the package, for
pytest's sake. Hence a module of its own, which imports nothing but pytest.

Plugins are imported before pytest-cov starts to measure. As the package is
imported in the fixture, its lines are measured all the same; those of this
file are not.

``-p no:pulsar_native`` switches it off.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pulsar_native.testing import Actors

__all__ = ["actors"]

_TIMEOUT = "pulsar_native_timeout"

# pytest-asyncio's fixtures of loops that outlive a test.
_RUNNERS = tuple(
    f"_{scope}_scoped_runner"
    for scope in ("class", "module", "package", "session")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(
        _TIMEOUT,
        "seconds that actors have to stop in, and everything that a test "
        "with the fixture actors leaves to go in",
        default="2",
    )


@pytest.fixture
def actors(request: pytest.FixtureRequest) -> Iterator[Actors]:
    """Spawn actors; an error if the test leaves one behind.

    ``await actors.spawn(...)`` is ``pulsar_native.spawn``, in any running
    loop; ``actors.run(coroutine)`` runs a loop for a test that is no
    coroutine itself. At the end actors are stopped. What the test has left
    then (actors, child processes, descriptors) is named, and ended.
    """
    from pulsar_native.testing import Actors, LeftBehind

    # pytest-asyncio makes them when a test is called: too late, as what they
    # open stays open after it.
    for name in request.fixturenames:
        if name in _RUNNERS:
            request.getfixturevalue(name)
    found = Actors(_timeout(request.config))
    yield found
    left = [item for item in found.close() if _is_to_blame(item.kind)]
    if left:
        error = LeftBehind(left, found.timeout)
        pytest.fail(f"{request.node.nodeid} {error}", pytrace=False)


def _timeout(config: pytest.Config) -> float:
    text = config.getini(_TIMEOUT)
    try:
        return float(text)
    except ValueError:
        raise pytest.UsageError(
            f"{_TIMEOUT} is a number of seconds, not {text!r}"
        ) from None


def _is_to_blame(kind: str) -> bool:
    """Whether this is a fault of its own.

    The traceback of a test that has failed keeps its descriptors open; pytest
    keeps that in sys, until the next test.
    """
    failed = getattr(sys, "last_value", None) is not None
    return not (failed and kind == "descriptor")
