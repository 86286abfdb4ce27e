"""``spawn`` and its options."""

from typing import assert_type

from methods import Counter

import pulsar_native as pn


class Pair:
    def __init__(self, one: str, *, two: int) -> None:
        self.both = one, two


async def with_a_class() -> None:
    counter = await pn.spawn(Counter, 5, kind="process", name="counter")
    assert_type(await pn.send(counter, Counter.add, 1), int)
    proxy: pn.ActorProxy[Counter] = counter
    counter.kill()
    await counter.join(timeout=1)
    pn.spawn(Counter(5))  # E: No overload variant of "__call__" of "Spawn"
    pn.spawn(len)  # E: No overload variant of "__call__" of "Spawn"
    pn.send(counter, Pair)  # E: No overload variant of


async def with_options() -> None:
    spawn = pn.spawn.options(kind="process", name="a", timeout=3, start=print)
    counter = await spawn(Counter, 5)
    assert_type(await pn.send(counter, Counter.get), int)
    pair: pn.ActorProxy[Pair] = await spawn(Pair, "one", two=2)
    spawn(Counter, "5")  # E: No overload variant of "__call__" of "Spawner"
    spawn(Pair, "one")  # E: No overload variant of "__call__" of "Spawner"
    spawn(Pair, "one", two=2, name="x")  # E: keyword argument "name"
    pn.spawn.options(knid="process")  # E: Unexpected keyword argument "knid"
    pn.spawn.options(timeout="3")  # E: has incompatible type "str"


async def without_a_class() -> None:
    worker = await pn.spawn(name="worker", word="hello")
    assert_type(await pn.call(worker, len, "abc"), int)
    some: pn.ActorProxy = worker
    none: pn.ActorProxy[None] = worker
    wrong: pn.ActorProxy[Counter] = worker  # E: Incompatible types in
    other = await pn.spawn.options(name="other")(word="hello")
    assert_type(other.aid, str)


async def under_a_supervisor() -> None:
    async with pn.supervisor("one_for_all", within=1.0) as sup:
        role = await sup.spawn(Counter, 5, restart="transient")
        assert_type(role, pn.Role[Counter])
        assert_type(await pn.send(role, Counter.add, 1), int)
        again = pn.send.options(retry=True)
        assert_type(await again(role, Counter.get), int)
        assert_type(await sup.spawn(4, Counter, 5), pn.Pool)
        assert_type(await sup.spawn(name="plain"), pn.Role[None])
        await sup.spawn(Counter, 5, restart=1)  # E: No overload variant
        sub = await sup.supervisor(restart="transient")
        await sup.stop_child(sub)
        await sup.restart_child(sub)  # E: incompatible type "Supervisor"
