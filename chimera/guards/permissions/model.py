"""What can be asked: kinds of principals and resources, actions, and which goes with which; a schema of Cedar."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import cedarpy

from chimera.core.errors import InputError, PolicyInvalid
from chimera.guards.permissions.conditions import Ancestors
from chimera.guards.permissions.values import Entity, Uid


class Model:
    """A schema that policies, principals and resources are held against."""

    def __init__(self, text: str) -> None:
        """Read a schema.

        Raises:
            PolicyInvalid: it is none.
        """
        try:
            form = json.loads(text)
            self.schema = cedarpy.Schema.from_json_str(text)
        except (ValueError, RecursionError) as error:
            raise PolicyInvalid(f"the schema of the permissions cannot be read: {_line(error)}") from None
        if list(form) != [""]:
            raise PolicyInvalid("the schema of the permissions has a namespace, and there are none here")
        actions: Mapping[str, Any] = form[""]["actions"]
        self._kinds: Mapping[str, Any] = form[""]["entityTypes"]
        self.actions: Ancestors = {Uid("Action", name): _closure(name, actions) for name in actions}
        self._applies = frozenset(
            (principal, name, resource)
            for name, action in actions.items()
            for principal in action.get("appliesTo", {}).get("principalTypes", [])
            for resource in action.get("appliesTo", {}).get("resourceTypes", [])
        )

    def applies(self, principal: str, action: str, resource: str) -> bool:
        """Whether a kind of principal can ever do the action with that kind of resource."""
        return (principal, action, resource) in self._applies

    def knows(self, action: str) -> bool:
        """Whether there is such an action."""
        return Uid("Action", action) in self.actions

    def roles(self, kind: str) -> Sequence[str]:
        """The roles that a kind of principal can have, and no other kind can."""
        return self._kinds.get(f"{kind}Role", {}).get("enum", [])

    def check(self, entity: Entity) -> Entity:
        """Let an entity pass that has the attributes and the parents of its kind.

        Raises:
            InputError: it has others.
        """
        try:
            cedarpy.Entities.from_json_str(json.dumps([entity.plain()]), self.schema)
        except ValueError:
            what = f"{entity.uid.type[:60]} {entity.uid.id[:60]!r}"
            raise InputError(f"{what} has an attribute, a role or a pool that its kind cannot have") from None
        return entity


def _closure(name: str, actions: Mapping[str, Any]) -> frozenset[Uid]:
    """An action and all groups that it is in; the schema has no circles, Cedar refuses those."""
    groups: list[str] = [group["id"] for group in actions[name].get("memberOf") or []]
    return frozenset({Uid("Action", name)}).union(*(_closure(group, actions) for group in groups))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
