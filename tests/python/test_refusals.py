"""What cannot be is refused at once, by its name, with its limits."""

from __future__ import annotations

from typing import Any

import pytest
from actors_help import failure, run

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

HUGE = 10**400
NAN, INF = float("nan"), float("inf")
REFUSED = (TypeError, ValueError)


@pytest.mark.parametrize("name", ["within", "backoff", "backoff_max"])
@pytest.mark.parametrize("value", [None, "x", True, NAN, INF, -1, HUGE, -HUGE])
def test_seconds_of_a_supervisor(name: str, value: Any) -> None:
    with pytest.raises(REFUSED, match=f"^{name} is"):
        pn.supervisor(**{name: value})


@pytest.mark.parametrize("value", [None, "x", True, 1.5, NAN, -1, HUGE, 2**64])
def test_restarts_of_a_supervisor(value: Any) -> None:
    with pytest.raises(REFUSED, match=r"^max_restarts is"):
        pn.supervisor(max_restarts=value)


@pytest.mark.parametrize(
    "wrong", [{"strategy": None}, {"strategy": "all"}, {"name": 1}]
)
def test_words_of_a_supervisor(wrong: dict[str, Any]) -> None:
    with pytest.raises(REFUSED, match=f"^{next(iter(wrong))} is"):
        pn.supervisor(**wrong)


def test_what_a_supervisor_is_to_spawn() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            for given, wrong in (
                ((), {"name": 1}),
                ((2,), {"name": b"x"}),
                ((), {"restart": "often"}),
                ((0,), {}),
                ((HUGE,), {}),
                ((1,), {"max_requests": HUGE}),
                ((1,), {"max_age": NAN}),
                ((1,), {"max_age": HUGE}),
                ((1,), {"max_memory": "1 GB"}),
            ):
                options: dict[str, Any] = {"kind": "coroutine", **wrong}
                error = await failure(sup.spawn(*given, **options))
                assert isinstance(error, REFUSED), error
                name = next(iter(wrong), "n")
                assert str(error).startswith(f"{name} is"), error
            pool = await sup.spawn(1, kind="coroutine")
            for count in (-1, True, 1.5, NAN, "2", None, HUGE):
                error = await failure(pool.scale(count))  # type: ignore[arg-type]
                assert isinstance(error, REFUSED), error
                assert "number of workers is" in str(error)
            assert sup.children == (pool[0],)

    run(main)


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_how_long_a_stop_may_take(kind: str) -> None:
    async def main() -> None:
        child: Any = await pn.spawn(kind=kind)
        for seconds in (HUGE, NAN, -1, True, "x"):
            with pytest.raises(REFUSED, match="timeout must be"):
                pn.stop(child, timeout=seconds)  # type: ignore[arg-type]
        await pn.stop(child, timeout=INF)

    run(main)


@pytest.mark.parametrize(
    "name",
    [
        "timeout",
        "drain_timeout",
        "exit_timeout",
        "spawn_timeout",
        "ask_timeout",
        "slow",
        "link_idle",
        "mailbox_messages",
        "outbox_bytes",
        "message_bytes",
        "thread_workers",
    ],
)
def test_settings_that_no_clock_or_machine_can_hold(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        pn.Config(**{name: HUGE})


def test_ends_of_a_tie() -> None:
    async def main() -> None:
        child: Any = await pn.spawn(kind="coroutine")
        for wrong in ("", [], 0, None):
            for pair in ((wrong, child), (child, wrong)):
                if pair[1] is not None:
                    error = await failure(_tied(*pair))
                    refused = (TypeError, pn.ActorNotFound)
                    assert isinstance(error, refused), (pair, error)
        await pn.stop(child)

    run(main)


async def _tied(one: Any, other: Any) -> None:
    await pn.tie(one, other)
