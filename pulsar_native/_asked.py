"""The options of ``spawn``, sorted out and looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .actor import Actor
from .consts import ACTOR_EVENTS
from .kinds import chosen_kind
from .proxy import number_of_aid
from .utils.config import Config

__all__ = ["Asked", "check_attributes", "sort_out_options", "with_params"]

# Attributes that every actor sets on itself.
_OWN = frozenset(
    {"age", "exit_code", "logger", "mailbox", "monitor", "number", "pid"}
    | {"servers", "state", "stopping_waiters", "stream", "tid"}
)


@dataclass
class Asked:
    """What is to be spawned: *params* are hooks, attributes and ``extra``."""

    name: str | None
    aid: str | None
    cfg: Config
    params: dict[str, Any]

    def given_names(self) -> list[str]:
        """The name and the aid, as far as they were chosen."""
        return [n for n in (self.name, self.aid) if n is not None]


def sort_out_options(options: dict[str, Any], default: Config) -> Asked:
    """Sort out what ``spawn`` was given; refuse what cannot be.

    *default* has the settings that are not given. ValueError and TypeError as
    ``spawn`` raises them.
    """
    rest = dict(options)
    cfg = rest.pop("cfg", None)
    if not isinstance(cfg, Config | None):
        raise TypeError(f"cfg must be a Config, not {cfg!r}")
    cfg = (default if cfg is None else cfg).copy()
    kind = rest.pop("kind", None)
    if kind is not None:
        cfg.set("concurrency", kind)
    for name in [n for n in rest if Config.is_setting(n)]:
        cfg.set(name, rest.pop(name))
    cfg.set("concurrency", chosen_kind(cfg.concurrency))
    asked = Asked(rest.pop("name", None), rest.pop("aid", None), cfg, rest)
    check_attributes(rest)
    _check_values(rest)
    for text in asked.given_names():
        _check_name(text)
    return asked


def with_params(actor: Actor, options: dict[str, Any]) -> dict[str, Any]:
    """What ``spawn`` was given, with what the ``on_params`` hooks of who
    manages the new actor add."""
    if not actor.has_callbacks("on_params"):
        return options
    merged = actor.actorparams()
    winning = {n: merged[n] for n in ("name", "aid", "cfg") if n in merged}
    return merged | options | winning


def check_attributes(params: dict[str, Any]) -> None:
    """What is left becomes attributes: none may hide the actor's own."""
    for name in params:
        if name in ACTOR_EVENTS or name == "extra":
            continue
        if name.startswith("_") or name in _OWN or hasattr(Actor, name):
            raise ValueError(
                f"{name!r} is an actor's own attribute and cannot be given"
            )


def _check_values(params: dict[str, Any]) -> None:
    """Refuse here what could only fail in the new actor."""
    if not isinstance(params.get("extra", {}), dict):
        raise TypeError(f"extra must be a dict, not {params['extra']!r}")
    for name in ACTOR_EVENTS:
        hooks = params.get(name)
        if not isinstance(hooks, list | tuple):
            hooks = () if hooks is None else (hooks,)
        for hook in hooks:
            if not callable(hook):
                raise TypeError(f"{name} must be callable, not {hook!r}")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not 0 < len(name.encode()) <= 255:
        raise ValueError(
            f"a name or aid is 1 to 255 bytes of text, not {name!r}"
        )
    if number_of_aid(name) is not None:
        raise ValueError(f"{name!r} is the aid of an actor without a name")
