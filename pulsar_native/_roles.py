"""The roles that one node knows: its own, and those that it follows.

The node of a supervisor knows where its roles are. Another node asks it by
FOLLOW when it first sends to a role, and hears by ROLE at once and whenever
that changes.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ._down import Down
from .exceptions import ActorNotFound
from .proxy import ActorProxy, aid_of, node_of
from .role import Key, Role

if TYPE_CHECKING:
    from ._watching import OnEnd
    from .node import NodeActor

__all__ = ["KIND_FOLLOW", "KIND_ROLE", "Roles"]

KIND_FOLLOW = 12  # csrc/mailbox/envelope.h
KIND_ROLE = 13


class Roles:
    """The roles of one node; for the thread of its loop."""

    def __init__(self, node: NodeActor) -> None:
        self._node = node
        self._ids = itertools.count(1)
        # Its own, by id and by the number of the actor; who follows them.
        self._own: dict[int, Role] = {}
        self._own_at: dict[int, Role] = {}
        self._followers: dict[int, set[int]] = {}
        # Those of other nodes; the ends of their owners.
        self._others: WeakValueDictionary[Key, Role] = WeakValueDictionary()
        self._others_at: WeakValueDictionary[int, Role]
        self._others_at = WeakValueDictionary()
        self._sought: dict[Key, Role] = {}  # kept until there is an answer
        self._owners: dict[int, OnEnd] = {}

    # --- those of its own supervisors ---

    def new(self, name: str) -> Role:
        """A role of its own, away."""
        id = next(self._ids)
        key = self._node.number, id
        role: Role = Role(key, aid_of(0), name, 0, 0, self._node)
        self._own[id] = role
        return role

    def up(self, role: Role, proxy: ActorProxy, generation: int) -> None:
        """That actor has it now."""
        self._own_at.pop(role.number, None)
        self._own_at[proxy.number] = role
        role._arrive(proxy, generation)
        self._tell(role)

    def away(self, role: Role, down: Down | None = None) -> None:
        """It has no actor for now."""
        was = role._state
        role._leave(down)
        if was != role._state or down is not None:
            self._tell(role)

    def end(self, role: Role, down: Down) -> None:
        """It will have none any more."""
        self._own_at.pop(role.number, None)
        role._end(down)
        self._tell(role)
        _, id = role._key
        self._own.pop(id, None)
        self._followers.pop(id, None)

    def followers(self, id: int) -> list[int]:
        """The nodes that want to know where a role of its own is."""
        return list(self._followers.get(id, ()))

    # --- all ---

    def lost(self, number: int) -> None:
        """An actor ends: before its asks fail, so that what is sent then
        waits for the successor."""
        role = self._own_at.pop(number, None)
        if role is not None:
            self.away(role)
        role = self._others_at.pop(number, None)
        if role is not None:
            role._leave()
        if self._followers and node_of(number) == number:
            for followers in self._followers.values():
                followers.discard(number)

    # --- those of other nodes ---

    def of(self, role: Role) -> Role:
        """The object that this node has for the same role."""
        owner, id = role._key
        if owner == self._node.number:
            own = self._own.get(id)
            if own is None:
                own = role if role._home is None else _copy(role)
                own._home = self._node
                own._end(self._gone(own))
            return own
        known = self._others.get(role._key)
        if known is None:
            known = role if role._home is None else _copy(role)
            known._home = self._node
            self._others[known._key] = known
        return known

    def seek(self, role: Role) -> None:
        """Find out where a role is, unless that is known or under way."""
        owner, id = role._key
        if owner == self._node.number or role._key in self._sought:
            return
        self._sought[role._key] = role
        self._watch(owner)
        if role._key in self._sought:
            self._node.mailbox.post(KIND_FOLLOW, owner, b"", id=id)

    def doubt(self, role: Role) -> None:
        """Its actor is said to be down; its owner knows."""
        if role._key[0] != self._node.number:
            role._leave()
            self._sought.pop(role._key, None)
            self.seek(role)

    def _watch(self, owner: int) -> None:
        if owner in self._owners:
            return

        def ended(down: Down) -> None:
            self._owners.pop(owner, None)
            self._orphan(owner, down)

        try:
            self._owners[owner] = self._node.on_end(owner, ended)
        except ActorNotFound as error:
            self._orphan(
                owner, Down(aid_of(owner), "actor", owner, str(error))
            )

    def _orphan(self, owner: int, down: Down) -> None:
        """Their supervisors have ended with their node."""
        for role in list(self._others.values()):
            if role._key[0] == owner and role._state != "ended":
                self._sought.pop(role._key, None)
                reason = f"its supervisor has ended: {down.reason}"
                role._end(Down(role.aid, role.name, role.number, reason))

    # --- what nodes tell each other ---

    def receive(self, kind: int, source: int, id: int, payload: bytes) -> None:
        """FOLLOW or ROLE, from another node."""
        if kind == KIND_ROLE:
            self._hear((source, id), payload)
            return
        role = self._own.get(id)
        if role is None:
            role = Role((self._node.number, id), "", "", 0)
            role._end(self._gone(role))
        else:
            self._followers.setdefault(id, set()).add(source)
        self._node.mailbox.post(KIND_ROLE, source, _dump(role), id=id)

    def _gone(self, role: Role) -> Down:
        return Down(
            role.aid, role.name, role.number, "it is supervised no more"
        )

    def _tell(self, role: Role) -> None:
        _, id = role._key
        followers = self._followers.get(id)
        if not followers:
            return
        said = _dump(role)
        for node in list(followers):
            if not self._node.mailbox.post(KIND_ROLE, node, said, id=id):
                followers.discard(node)

    def _hear(self, key: Key, payload: bytes) -> None:
        role = self._others.get(key)
        if role is None or role._state == "ended":
            return
        state, generation, number, aid, *end = json.loads(payload)
        down = None
        if end:
            reason, code, sig = end
            down = Down(aid or role.aid, role.name, number, reason, code, sig)
        if state == "ended":
            self._sought.pop(key, None)
            assert down is not None
            role._end(down)
        elif state == "away":
            role._leave(down)
        elif self._node._ended.get(number) is None:
            self._sought.pop(key, None)
            role._down = down or role._down
            self._others_at[number] = role
            proxy: ActorProxy = ActorProxy(aid, role.name, number)
            role._arrive(proxy, generation)


def _copy(role: Role) -> Role:
    return Role(role._key, role.aid, role.name, role.number, role._generation)


def _dump(role: Role) -> bytes:
    facts = [role._state, role._generation, role.number, role.aid]
    down = role._down
    if down is not None:
        facts += [down.reason, down.exit_code, down.signal]
    return json.dumps(facts).encode()
