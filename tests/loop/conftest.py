"""What the tests of the loop share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pulsar_native as pn


@pytest.fixture
def loop() -> Iterator[pn.Loop]:
    made = pn.new_event_loop()
    yield made
    if not made.is_closed():
        made.close()
