"""A module that is preloaded: what of it is kept for ever, and what not."""

from __future__ import annotations

from typing import ClassVar


class Thing:
    """One whose end is seen."""

    ended: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    def __del__(self) -> None:
        self.ended.append(self.name)


def function() -> str:
    """Give a constant."""
    return "a constant of no other module"


def enclose(thing: Thing) -> object:
    """A function that holds on to *thing*."""

    def closure() -> Thing:
        return thing

    return closure


constants = ("one", ("two", 3.5), Thing)
held = {
    "plain": Thing("plain"),
    "tuple": (Thing("tuple"), 1),
    "closure": enclose(Thing("closure")),
    "bound": Thing("bound").__init__,
    "list": [Thing("list")],
    "instance": Thing("instance"),
}
held["instance"].other = Thing("attribute")  # type: ignore[union-attr]
