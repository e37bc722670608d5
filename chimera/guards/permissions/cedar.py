"""Cedar itself, for the policies that the table leaves to it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import cedarpy

from chimera.guards.permissions.conditions import Ancestors
from chimera.guards.permissions.ruling import UNREADABLE, Ruling
from chimera.guards.permissions.values import Entity, Uid, as_cedar, is_usable

_FAULTY = re.compile(r"error while evaluating policy `([^`]*)`")


class Cedar:
    """Answers with the Cedar library. It knows the two entities of a request and what they are in, and no others."""

    def __init__(self, text: str, names: Mapping[str, str], actions: Ancestors) -> None:
        self._policies = cedarpy.PolicySet.from_str(text)
        self._names = names
        self._actions = [
            {"uid": uid.plain(), "attrs": {}, "parents": [group.plain() for group in sorted(groups - {uid})]}
            for uid, groups in actions.items()
        ]

    def decide(self, principal: Entity, action: str, resource: Entity, context: Mapping[str, Any]) -> Ruling:
        """Cedar's answer: a forbid that holds denies, else a permit that holds allows, else it is denied."""
        if not is_usable(context):
            return Ruling(False, reason=UNREADABLE, engine="cedar")
        uid = Uid("Action", action)
        request = {
            "principal": principal.uid.plain(),
            "action": uid.plain(),
            "resource": resource.uid.plain(),
            "context": as_cedar(dict(context)),
        }
        named = {resource.uid: resource, principal.uid: principal}
        groups = {group for entity in named.values() for group in entity.parents} - named.keys()
        bare = [{"uid": group.plain(), "attrs": {}, "parents": []} for group in sorted(groups)]
        entities = [*(entity.plain() for entity in named.values()), *bare, *self._actions]
        result = cedarpy.is_authorized(request, self._policies, entities)
        if result.decision is cedarpy.Decision.NoDecision:
            return Ruling(False, reason=UNREADABLE, engine="cedar")
        held = [self._names[place] for place in result.diagnostics.reasons]
        faulty = [self._names[place] for error in result.diagnostics.errors for place in _FAULTY.findall(error)]
        return Ruling.of([], held, faulty, "cedar") if result.allowed else Ruling.of(held, [], faulty, "cedar")


def json_form(text: str) -> Mapping[str, Any]:
    """Policies in Cedar's JSON form.

    Raises:
        ValueError: they are no policies.
    """
    try:
        return json.loads(cedarpy.policies_to_json_str(text))
    except RecursionError:
        raise ValueError("an expression is nested too deeply") from None
