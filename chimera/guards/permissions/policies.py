"""A file of permission policies: Cedar text that is held against the schema, and compiled to the table."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import cedarpy

from chimera.core.errors import PolicyInvalid
from chimera.core.ids import digest
from chimera.guards.permissions.cedar import Cedar, json_form
from chimera.guards.permissions.lines import line_of_error, line_of_message, places, problem, too_deep
from chimera.guards.permissions.model import Model
from chimera.guards.permissions.table import Table

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
"""Brackets within brackets. Cedar's parser puts them on its stack, and a thousand end the process."""
MAX_LINKS = 400
"""Operators in one policy: Cedar makes a tree of each chain, and one that is too deep ends the process as well."""
_PACKAGE = "chimera.guards.permissions"


class Policies:
    """Policies that were read without an error, ready to be asked."""

    def __init__(self, text: str, model: Model) -> None:
        """Read policies.

        Raises:
            PolicyInvalid: they cannot be read, or do not fit the schema; the message and ``line`` name the place.
        """
        if len(text.encode("utf-8", "replace")) > MAX_BYTES:
            raise PolicyInvalid(f"the permissions have more than {MAX_BYTES:,} bytes")
        _parse(text)
        form: Mapping[str, Any] = json_form(text)
        if form["templates"] or form["templateLinks"]:
            raise _wrong(1, "a template has nothing to fill it with; a grant is made with `permission.grant`")
        self._validate(text, model)
        names = _names(text, form["staticPolicies"])
        self.model = model
        self.text = text
        self.digest = digest(text)[:32]
        self.ids = tuple(names.values())
        self.cedar = Cedar(text, names, model.actions)
        self.table = Table(form["staticPolicies"], names, model.actions, self.cedar, model.applies)

    def _validate(self, text: str, model: Model) -> None:
        found = cedarpy.validate_policies(text, model.schema)
        if found.validation_passed:
            return
        first = found.errors[0]
        number = first.policy_id.removeprefix("policy")
        known = places(text)
        line = line_of_message(known[int(number)], first.error) if number.isdecimal() else 1
        message = first.error.removeprefix(f"for policy `{first.policy_id}`").lstrip(":, ")
        raise _wrong(line, message)


@cache
def shipped_model() -> Model:
    """The schema that Chimera ships with."""
    return Model(files(_PACKAGE).joinpath("schema.json").read_text("utf-8"))


@cache
def shipped_policies() -> Policies:
    """The permissions of an installation that has none of its own."""
    return Policies(files(_PACKAGE).joinpath("default.cedar").read_text("utf-8"), shipped_model())


def _parse(text: str) -> None:
    if beyond := too_deep(text, MAX_DEPTH, MAX_LINKS):
        raise _wrong(*beyond)
    if why := problem(text, json_form):
        raise _wrong(line_of_error(text, json_form), why)


def _names(text: str, policies: Mapping[str, Any]) -> dict[str, str]:
    """The ``@id`` of each policy by the number that Cedar gave it: decisions name it, so each has its own."""
    known = places(text)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for number, policy in policies.items():
        name = str(policy.get("annotations", {}).get("id") or "")
        line = known[int(number.removeprefix("policy"))].line
        if not name:
            raise _wrong(line, "the policy has no @id")
        if name in taken:
            raise _wrong(line, f"the @id {name[:60]} is taken")
        names[number] = name
        taken.add(name)
    return names


def _wrong(line: int, message: str) -> PolicyInvalid:
    return PolicyInvalid(f"the permissions, line {line}: {message}", line=line)
