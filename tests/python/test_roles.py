"""Roles: references that reach the successor, from any process."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from actors_help import failure, run, until
from supervisor_commands import (
    QUICK,
    Keeper,
    User,
    sup_exit,
    sup_number,
)

import pulsar_native as pn

PATIENCE = 90.0  # seconds: a subprocess takes some on a busy machine

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "subprocess", "thread", "coroutine"]


def kill(sup: pn.Supervisor, role: pn.Role) -> None:
    """The actor that has it now."""
    sup._find(role).proxy.kill()


async def replace(sup: pn.Supervisor, role: pn.Role) -> None:
    """Kill that actor, and wait for the next one."""
    before = role.generation
    kill(sup, role)
    await until(lambda: role.generation > before, "it has a successor")


async def eventually(target: Any, command: Any, wanted: Any) -> None:
    """Ask until that is the answer."""
    found = []

    async def look() -> bool:
        found[:] = [await pn.send(target, command)]
        return bool(found[0] == wanted)

    for _ in range(2000):
        if await look():
            return
    raise AssertionError(f"{found[0]!r}, not {wanted!r}")


@pytest.mark.parametrize("user_kind", KINDS)
@pytest.mark.parametrize("kind", ["process", "coroutine"])
def test_a_role_reaches_the_successor_from_another_actor(
    kind: str, user_kind: str
) -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            user = await pn.spawn(User, kind=user_kind)
            role = await sup.spawn(kind=kind)
            await pn.send(user, User.take, role)
            first = await pn.send(user, User.number)
            assert first == role.number
            for _ in range(3):
                await replace(sup, role)
                now = await pn.send(role, sup_number)
                # As soon as that node has heard of it, too.
                await until_asked(user, now)
                answers = await pn.send(user, User.numbers, 100)
                assert set(answers) == {now}
            assert role.generation == 3

    run(main, PATIENCE)


async def until_asked(user: Any, number: int) -> None:
    for _ in range(2000):
        try:
            if await pn.send(user, User.number) == number:
                return
        except pn.ActorDown:
            continue
    raise AssertionError(f"it never asked {number}")


def test_an_old_copy_of_a_role_reaches_the_actor_of_now() -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            role = await sup.spawn()
            old = pickle.dumps(role)
            await replace(sup, role)
            now = await pn.send(role, sup_number)
            user = await pn.spawn(User)
            assert pickle.loads(old) is role
            await pn.send(user, "run", _take_pickled, old)
            assert await pn.send(user, User.number) == now

    run(main, PATIENCE)


def _take_pickled(actor: Any, pickled: bytes) -> None:
    actor.instance.role = pickle.loads(pickled)


@pytest.mark.parametrize("user_kind", ["process", "thread"])
def test_retry_asks_the_successor_from_another_actor(user_kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor(**QUICK) as sup:
            user = await pn.spawn(User, kind=user_kind)
            role = await sup.spawn()
            await pn.send(user, User.take, role)
            await pn.send(user, User.number)
            waited = pn.send(user, User.wait, role.aid)
            await pn.send(user, User.number)  # behind it
            kill(sup, role)
            assert await waited == "waited"

    run(main, PATIENCE)


@pytest.mark.parametrize("user_kind", ["process", "thread"])
def test_asks_wait_in_another_actor_too(user_kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=3600, backoff_max=3600) as sup:
            user = await pn.spawn(User, kind=user_kind)
            role = await sup.spawn()
            await pn.send(user, User.take, role)
            await pn.send(user, User.number)
            kill(sup, role)
            await until(lambda: role.down)
            for _ in range(2000):
                state, _, reason, _ = await pn.send(user, User.seen)
                if state == "away" and reason:
                    break
            assert (state, reason) == ("away", role.down.reason)
            waiting = pn.send(user, User.numbers, 3)
            await sup.restart_child(role)
            assert await waiting == [role.number] * 3
        assert isinstance(
            await failure(pn.send(user, User.number)), pn.ActorDown
        )
        assert (await pn.send(user, User.seen))[0] == "ended"

    run(main, PATIENCE)


@pytest.mark.parametrize("keeper_kind", ["process", "thread"])
def test_any_actor_supervises_actors_of_all_kinds(keeper_kind: str) -> None:
    async def main() -> None:
        keeper = await pn.spawn(Keeper, kind=keeper_kind)
        roles = await pn.send(keeper, Keeper.keep, KINDS)
        before = [await pn.send(role, sup_number) for role in roles]
        for role in roles:
            await failure(pn.send(role, sup_exit, 1))
        after = [await pn.send(role, sup_number) for role in roles]
        assert not set(before) & set(after)
        assert await pn.send(keeper, Keeper.generations) == [1] * 4

    run(main, PATIENCE)


def test_a_supervisor_in_another_process_escalates() -> None:
    async def main() -> None:
        keeper = await pn.spawn(Keeper)
        roles = await pn.send(keeper, Keeper.keep, ["process"] * 2, 0)
        await failure(pn.send(roles[0], sup_exit, 1))
        for role in roles:
            assert isinstance(
                await failure(pn.send(role, "ping")), pn.ActorDown
            )
        await eventually(keeper, Keeper.states, ["ended", "ended"])
        assert not [
            c for c in pn.arbiter().managed_actors.values() if c != keeper
        ]

    run(main, PATIENCE)


@pytest.mark.parametrize("sig", [9, None])
def test_children_do_not_outlive_their_supervisors_process(
    sig: int | None,
) -> None:
    async def main() -> None:
        keeper = await pn.spawn(Keeper)
        roles = await pn.send(keeper, Keeper.keep, KINDS)
        assert await pn.send(roles[0], "ping") == "pong"
        keeper.stop(sig)
        await until(lambda: not pn.arbiter().managed_actors)
        for role in roles:
            error = await failure(pn.send(role, "ping"))
            assert isinstance(error, pn.ActorDown), error

    run(main, PATIENCE)
