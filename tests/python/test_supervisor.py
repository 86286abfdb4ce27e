"""Supervisors: what is started again, what is not, and when they give up."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
from actors_help import ask, failure, run, until
from supervisor_commands import QUICK, sup_exit, sup_number, sup_wait

import pulsar_native as pn

PATIENCE = 90.0  # seconds: a subprocess takes some on a busy machine

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "subprocess", "thread", "coroutine"]


def kill(sup: pn.Supervisor, role: pn.Role) -> None:
    """The actor that has it now."""
    sup._find(role).proxy.kill()


async def end(role: pn.Role, code: int = 1) -> None:
    error = await failure(pn.send(role, sup_exit, code))
    assert isinstance(error, pn.ActorDown), error


@pytest.mark.parametrize("kind", KINDS)
def test_an_ask_reaches_the_successor(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(name="one", kind=kind)
            assert role.generation == 0
            assert role.down is None
            first = await pn.send(role, sup_number)
            assert first == role.number
            await end(role)
            # No wait: it is kept until there is somebody to answer it.
            second = await pn.send(role, sup_number)
            assert second != first
            assert role.number == second
            assert role.generation == 1
            assert role.down is not None
            assert role.down.exit_code == 1
        assert isinstance(
            await failure(pn.send(role, sup_number)), pn.ActorDown
        )

    run(main, PATIENCE)


def test_a_killed_process_is_replaced() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn()
            waiting = pn.send(role, sup_wait)
            kill(sup, role)
            assert isinstance(await failure(waiting), pn.ActorDown)
            assert await pn.send(role, "ping") == "pong"
            assert role.down is not None
            assert role.down.signal == 9

    run(main, PATIENCE)


@pytest.mark.parametrize("kind", ["process", "coroutine"])
@pytest.mark.parametrize(
    ("restart", "code", "again"),
    [
        ("permanent", 0, True),
        ("permanent", 1, True),
        ("transient", 0, False),
        ("transient", 1, True),
        ("temporary", 0, False),
        ("temporary", 1, False),
    ],
)
def test_restart_says_what_is_started_again(
    kind: str, restart: str, code: int, again: bool
) -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(kind=kind, restart=restart)
            await end(role, code)
            if again:
                assert await pn.send(role, "ping") == "pong"
                assert sup.children == (role,)
            else:
                error = await failure(pn.send(role, "ping"))
                assert isinstance(error, pn.ActorDown)
                assert role.state == "ended"
                assert sup.children == ()

    run(main, PATIENCE)


def test_one_for_all_restarts_the_others_too() -> None:
    async def main() -> None:
        async with pn.supervisor("one_for_all", **QUICK) as sup:
            roles = [await sup.spawn(kind="coroutine") for _ in range(3)]
            before = [await pn.send(role, sup_number) for role in roles]
            await end(roles[1])
            await until(lambda: all(role.generation for role in roles))
            after = [await pn.send(role, sup_number) for role in roles]
            assert not set(before) & set(after)
            assert [role.generation for role in roles] == [1, 1, 1]

    run(main, PATIENCE)


def test_rest_for_one_restarts_those_that_were_started_later() -> None:
    async def main() -> None:
        async with pn.supervisor("rest_for_one", **QUICK) as sup:
            roles = [await sup.spawn(kind="coroutine") for _ in range(3)]
            await end(roles[1])
            await until(lambda: roles[1].generation and roles[2].generation)
            await asyncio.gather(*(pn.send(r, "ping") for r in roles))
            assert [role.generation for role in roles] == [0, 1, 1]

    run(main, PATIENCE)


def test_n_actors_are_spawned_at_once() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            roles = await sup.spawn(3, name="crew")
            names = [await ask(role, _name) for role in roles]
            assert names == ["crew-0", "crew-1", "crew-2"]
            assert len(sup.children) == 3

    run(main, PATIENCE)


def _name(actor: Any) -> str:
    name: str = actor.name
    return name


class Counter:
    def __init__(self, first: int) -> None:
        self.count = first

    @pn.command()
    def increment(self, by: int = 1) -> int:
        self.count += by
        return self.count


def test_an_object_is_made_again() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(Counter, 5, restart="permanent")
            assert await pn.send(role, Counter.increment) == 6
            await end(role)
            assert await pn.send(role, Counter.increment, 2) == 7

    run(main, PATIENCE)


def test_a_name_leads_to_the_successor() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(name="db")
            await end(role)
            await pn.send(role, "ping")
            assert await pn.send("db", sup_number) == role.number

    run(main, PATIENCE)


def test_messages_wait_in_order() -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=0.05) as sup:
            role = await sup.spawn(Counter, 0, kind="coroutine")
            await end(role)
            assert role.state == "away"
            told = pn.tell(role, Counter.increment, 10)
            asked = [pn.send(role, Counter.increment) for _ in range(3)]
            assert await asyncio.gather(*asked) == [11, 12, 13]
            assert await told is None

    run(main, PATIENCE)


def test_an_ask_that_waits_heeds_its_deadline_and_can_be_cancelled() -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=3600, backoff_max=3600) as sup:
            role = await sup.spawn(kind="coroutine")
            await end(role)
            with pn.deadline(0.01):
                error = await failure(pn.send(role, "ping"))
            assert isinstance(error, pn.AskTimeout)
            cancelled = pn.send(role, "ping")
            cancelled.cancel()
            kept = pn.send(role, "ping")
            await asyncio.sleep(0)
            assert cancelled.cancelled()
        assert isinstance(await failure(kept), pn.ActorDown)

    run(main, PATIENCE)


def test_values_that_wait_are_those_of_the_call() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(kind="coroutine")
            await end(role)
            value = [1]
            answer = pn.send(role, "echo", value)
            value.append(2)
            assert await answer == [1]
            error = await failure(pn.send(role, "echo", threading.Lock()))
            assert not isinstance(error, pn.ActorDown)

    run(main, PATIENCE)


@pytest.mark.parametrize("kind", ["process", "coroutine"])
def test_retry_asks_the_successor(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(kind=kind)
            retry = pn.send.options(retry=True)
            plain = pn.send(role, sup_wait, role.aid)
            kept = retry(role, sup_wait, role.aid)
            await pn.send(role, "ping")
            kill(sup, role)
            assert isinstance(await failure(plain), pn.ActorDown)
            assert await kept == "waited"
            assert role.generation == 1

    run(main, PATIENCE)


def test_restarts_are_logged_of_actors_and_of_supervisors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK, name="top") as top:
            sub = await top.supervisor(max_restarts=1, **QUICK, name="sub")
            role = await sub.spawn(kind="coroutine", name="bad")
            for _ in range(2):
                await end(role)
            assert await pn.send(role, "ping") == "pong"

    with caplog.at_level("INFO", "pulsar_native"):
        run(main, PATIENCE)
    told = [r.getMessage() for r in caplog.records if "starts" in r.msg]
    assert [text.split(" has ended: ")[0][:22] for text in told] == [
        "supervisor 'sub': bad(",
        "supervisor 'top': 'sub",
    ]
    assert "SystemExit: 1; it starts again in 0.0" in told[0]
    assert "more than 1 restarts" in told[1]


def test_the_first_ask_of_a_loop_may_be_one_with_retry() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(kind="coroutine")
            assert await pn.send.options(retry=True)(role, "ping") == "pong"

    run(main, PATIENCE)


def test_a_thread_that_cannot_be_killed_has_a_successor() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(kind="thread")
            asked = ask(role, _block)
            await until(lambda: _blocked)
            kill(sup, role)
            assert isinstance(await failure(asked), pn.ActorDown)
            assert await pn.send(role, "ping") == "pong"
            assert role.down is not None
            assert "thread" in role.down.reason
            assert not _free.is_set()
            _free.set()

    run(main, PATIENCE)


_free = threading.Event()
_blocked: list[Any] = []


def _block(actor: Any) -> None:
    _blocked.append(actor)
    _free.wait(60)


def test_one_that_is_stopped_by_hand_stays_so() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as top:
            sub = await top.supervisor(max_restarts=0, **QUICK)
            bad = await sub.spawn(kind="coroutine")
            slow = await sub.spawn(kind="coroutine")
            asked = pn.send(slow, sup_wait)
            stopping = asyncio.create_task(sub.stop_child(slow))
            await asyncio.sleep(0)
            await end(bad)
            await until(lambda: sub.state == "ending")
            kill(sub, slow)
            assert isinstance(await failure(asked), pn.ActorDown)
            await stopping
            assert slow.state == "ended"
            assert await pn.send(bad, "ping") == "pong"
            assert sub.children == (bad,)

    run(main, PATIENCE)


def test_retry_is_for_roles() -> None:
    async def main() -> None:
        proxy = await pn.spawn(kind="coroutine")
        with pytest.raises(TypeError, match="Role"):
            pn.send.options(retry=True)(proxy, "ping")

    run(main, PATIENCE)


def test_too_many_restarts_escalate() -> None:
    async def main() -> None:
        order: list[str] = []
        with pytest.raises(pn.RestartsExceeded) as caught:
            async with pn.supervisor(
                max_restarts=2, within=60, name="boss", **QUICK
            ) as sup:
                for name in ("a", "b", "c"):
                    role = await sup.spawn(name=name, kind="coroutine")
                    pn.arbiter().on_end(
                        role.number, lambda down: order.append(down.name)
                    )
                bad = await sup.spawn(name="bad", kind="coroutine")
                for _ in range(3):
                    await end(bad)
                await asyncio.sleep(3600)
        error = caught.value
        assert error.name == "boss"
        assert [down.name for down in error.downs] == ["bad"] * 3
        assert "boss" in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        await until(lambda: len(order) == 3, "they stop")
        assert order == ["c", "b", "a"]
        assert sup.state == "closed"
        assert bad.state == role.state == "ended"
        assert asyncio.current_task().cancelling() == 0  # type: ignore

    run(main, PATIENCE)


def test_a_body_that_has_ended_hears_of_the_escalation() -> None:
    async def main() -> None:
        with pytest.raises(pn.RestartsExceeded) as caught:
            async with pn.supervisor(max_restarts=0) as sup:
                bad = await sup.spawn(kind="coroutine")
                try:
                    await end(bad)
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    raise ValueError("on its way out") from None
        assert isinstance(caught.value.__cause__, ValueError)
        await asyncio.sleep(0)  # no cancellation is left

    run(main, PATIENCE)


def test_a_body_that_is_cancelled_stays_cancelled() -> None:
    async def main() -> None:
        entered = asyncio.Event()
        roles = []

        async def body() -> None:
            async with pn.supervisor() as sup:
                roles.append(await sup.spawn(kind="coroutine"))
                entered.set()
                await asyncio.sleep(3600)

        task = asyncio.create_task(body())
        await entered.wait()
        task.cancel()
        assert isinstance(await failure(task), asyncio.CancelledError)
        assert roles[0].state == "ended"

    run(main, PATIENCE)


def test_a_block_stops_its_children_in_reverse_order() -> None:
    async def main() -> None:
        order: list[str] = []
        async with pn.supervisor() as sup:
            for name, kind in zip("abcd", KINDS, strict=True):
                role = await sup.spawn(name=name, kind=kind)
                pn.arbiter().on_end(
                    role.number, lambda down: order.append(down.name)
                )
        assert await until(lambda: len(order) == 4 and order, "all end") == [
            *"dcba"
        ]

    run(main, PATIENCE)


def test_a_supervisor_under_another_is_restarted_whole() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as top:
            sub = await top.supervisor(
                "one_for_all", max_restarts=1, within=60, **QUICK
            )
            roles = [await sub.spawn(kind="coroutine") for _ in range(2)]
            beside = await top.spawn(kind="coroutine")
            assert top.children == (sub, beside)
            await end(roles[0])
            await until(lambda: roles[1].generation == 1)
            await end(roles[0])
            await until(lambda: sub.state == "open" and sub.generation)
            assert sub.generation == 1
            assert beside.generation == 0
            assert await pn.send(roles[0], "ping") == "pong"
            assert sub.children == tuple(roles)
            info = top.info()
            assert [c["name"] for c in info["children"]] == [
                "supervisor",
                "actor",
            ]
            assert len(info["children"][0]["children"]) == 2
        assert {role.state for role in (*roles, beside)} == {"ended"}

    run(main, PATIENCE)


def test_an_escalation_goes_up_the_tree() -> None:
    async def main() -> None:
        with pytest.raises(pn.RestartsExceeded) as caught:
            async with pn.supervisor(
                max_restarts=1, within=60, name="top", **QUICK
            ) as top:
                sub = await top.supervisor(
                    max_restarts=0, within=60, name="sub", **QUICK
                )
                bad = await sub.spawn(kind="coroutine")
                await end(bad)
                await pn.send(bad, "ping")
                await end(bad)
                await pn.send(bad, "ping")
        assert caught.value.name == "top"
        assert "sub" in caught.value.downs[-1].reason
        assert bad.state == "ended"

    run(main, PATIENCE)


def test_children_are_stopped_and_restarted_by_hand() -> None:
    async def main() -> None:
        async with pn.supervisor(max_restarts=0) as sup:
            one = await sup.spawn(name="one", kind="coroutine")
            two = await sup.spawn(name="two", kind="process")
            for role in (one, two):
                before = role.number
                await sup.restart_child(role)
                assert role.number != before
                assert role.generation == 1
            await sup.stop_child(two)
            assert sup.children == (one,)
            assert two.state == "ended"
            with pytest.raises(ValueError, match="no child"):
                await sup.stop_child(two)
            sub = await sup.supervisor()
            await sub.spawn(kind="coroutine")
            await sup.stop_child(sub)
            assert sup.children == (one,)

    run(main, PATIENCE)


def test_a_first_start_that_fails_is_raised() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            error = await failure(sup.spawn(start=_fail_to_start))
            assert isinstance(error, pn.ActorStartError)
            error = await failure(sup.spawn(2, Counter, kind="coroutine"))
            assert isinstance(error, TypeError)
            assert sup.children == ()
            with pytest.raises(ValueError, match="restart"):
                await sup.spawn(restart="sometimes")

    run(main, PATIENCE)


def _fail_to_start(actor: Any) -> None:
    raise ValueError("it cannot")


def test_a_role_has_one_identity() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn(kind="coroutine")
            table = {role: 1}
            again = pickle.loads(pickle.dumps(role))
            assert again is role
            await end(role)
            await pn.send(role, "ping")
            assert table[role] == 1
            assert role != pn.get_actor().proxy  # type: ignore[union-attr]

    run(main, PATIENCE)


def test_what_cannot_be_is_refused() -> None:
    for wrong in (
        {"strategy": "some"},
        {"max_restarts": -1},
        {"within": 0},
        {"backoff": -1.0},
        {"backoff": 2.0, "backoff_max": 1.0},
    ):
        with pytest.raises(ValueError):
            pn.supervisor(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "count", [5_000, pytest.param(100_000, marks=pytest.mark.soak)]
)
def test_many_coroutines_have_no_tasks(count: int) -> None:
    async def main() -> None:
        async with pn.supervisor(max_restarts=1000, **QUICK) as sup:
            tasks = len(asyncio.all_tasks())
            roles = await sup.spawn(count, kind="coroutine")
            assert len(asyncio.all_tasks()) == tasks
            some = roles[:: count // 100]
            await asyncio.gather(*(end(role) for role in some))
            asked = [pn.send(role, "ping") for role in some]
            assert await asyncio.gather(*asked) == ["pong"] * len(some)
            assert len(sup.children) == count
            last = pn.send(roles[-1], "ping")
            kept = list(roles)
        assert await last == "pong"  # sent before it was to stop
        assert {role.state for role in kept} == {"ended"} and not roles

    run(main, 120)
