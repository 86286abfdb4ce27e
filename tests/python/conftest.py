"""What all Python tests share: a seed that is told and can be given back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

SEED = os.environ.setdefault(
    "PN_SEED", str(random.SystemRandom().getrandbits(32))
)


def pytest_report_header() -> str:
    return f"random seed: {SEED} (PN_SEED={SEED} repeats this run)"


def pytest_runtest_setup(item: pytest.Item) -> None:
    # By name, so that a test alone sees what it saw among the others.
    random.seed(f"{SEED} {item.nodeid}")


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fails if a test leaves processes, zombies or descriptors."""
    import actors_help

    yield from actors_help.leftovers()
