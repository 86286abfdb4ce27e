"""A module whose command has the name of another's; see test_shadowed.py."""

from typing import Any

import pulsar_native as pn


@pn.command()
def shadowed(request: Any) -> str:
    return "two"
