"""Two modules that register the same name."""

from __future__ import annotations

import pytest
import shadow_one
import shadow_two
from actors_help import run

import pulsar_native as pn


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_a_command_whose_name_was_taken_never_runs_the_other(
    kind: str,
) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        for send in (pn.send, pn.tell):
            with pytest.raises(pn.PulsarException, match="shadow_two"):
                await send(worker, shadow_one.shadowed)
        assert await pn.send(worker, shadow_two.shadowed) == "two"
        assert await pn.send(worker, "shadowed") == "two"

    run(main)
