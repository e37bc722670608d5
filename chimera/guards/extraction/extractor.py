"""The extractor: a model without tools, or rules, read a text; what fits the schema passes, and nothing else does."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from chimera.core.contracts import Budget, Mission, Threat
from chimera.core.errors import BudgetExceeded, GuardRejected, ModelError
from chimera.core.ids import NewId, digest, random_ids
from chimera.core.spotlight import Marks
from chimera.guards.extraction.extracted import FOUND_MAX, Extracted, fitting
from chimera.guards.extraction.schema import OF_TEXT, Schema, Several, checked
from chimera.guards.extraction.source import Source
from chimera.guards.provenance.labels import NOWHERE, Origin
from chimera.models.calls import Models
from chimera.models.choose import OFFLINE
from chimera.models.gate import Caller
from chimera.store.audit import AuditEvent, AuditLog

ROLE = "extractor"
DEADLINE_S = 60.0
TEXT_MAX = 20_000
"""Characters of a text that are read: with them the tokens of a call are bounded. What comes later gives no values."""
_ENTRY: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["field", "value"],
    "properties": {"field": {"type": "string"}, "value": {"type": "string"}},
}
_ENTRIES = {"type": "array", "items": _ENTRY, "maxItems": FOUND_MAX}


class Extraction(BaseModel):
    """The values that the text states, one entry each."""

    # A model can be made to say anything here: whatever it is, it is looked at entry by entry and never as a whole.
    model_config = ConfigDict(extra="ignore")

    found: Annotated[Any, WithJsonSchema(_ENTRIES)] = None


@dataclass(frozen=True)
class Asked:
    """On whose account a text is read, and what the record says of it: names, ids and counts, nothing from the text.

    ``rules``: those that found the threat.
    """

    mission_id: str
    mission: Mapping[str, Any] = field(default_factory=dict[str, Any])
    agent_id: str = ROLE
    threat: Threat = Threat.NONE
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rules: Sequence[str] = ()

    @property
    def caller(self) -> Caller:
        """Who pays for the call of the model."""
        known = Mission.model_validate(self.mission) if "goal" in self.mission else None
        budget = Budget.model_validate(self.mission.get("budget") or {})
        tenant = str(self.mission.get("tenant", "default"))
        # A name of its own: what it may not be shown is no deed of the agent that it reads for.
        name = f"{ROLE}:{self.mission_id}/{self.agent_id}"
        return Caller(self.mission_id, ROLE, budget, tenant=tenant, agent=name, mission=known)


class Extractor:
    """Takes typed values out of texts.

    The model of the role ``extractor`` reads, which is offered no tool, under a deadline, on the mission's budget;
    where none is configured, or it fails, rules do. With an audit log each extraction is on the record.
    """

    def __init__(
        self, models: Models | None = None, audit: AuditLog | None = None, new_id: NewId | None = None
    ) -> None:
        self._models = models
        self._audit = audit
        self._new_id = new_id or random_ids()

    async def extract(
        self, text: str, schema: Schema = OF_TEXT, *, asked: Asked | None = None, origin: Origin = NOWHERE
    ) -> Extracted:
        """Read a text.

        Without ``asked`` no model is asked, as nobody would pay for it, and nothing goes on the record.

        Raises:
            InputError: the schema asks for something that is no closed type.
            StoreError: what was used, or that it was read, could not be put on the record.
        """
        wanted = checked(schema)
        source = Source(text[:TEXT_MAX])
        said, failed = await self._said(source, wanted, asked)
        by = "rules" if said is None else "model"
        entries = list(_by_rules(source, wanted)) if said is None else said
        found = fitting(entries, wanted, source, origin, by)
        if asked is not None and self._audit is not None:
            await self._audit.append(_event(text, found, asked, failed))
        return found

    async def _said(
        self, source: Source, wanted: Mapping[str, Several], asked: Asked | None
    ) -> tuple[list[Any] | None, str]:
        """What the model says, or None with the reason if rules have to do."""
        if asked is None or self._models is None or self._models.names(ROLE)[:1] == [OFFLINE]:
            return None, ""
        known = {"fields": {name: {**one.form.told(), "values": one.most} for name, one in wanted.items()}}
        messages = Marks.made(self._new_id).request(extraction_prompt(), known, {"text": source.text})
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await self._models.structured(asked.caller, messages, Extraction)
        except (ModelError, BudgetExceeded, GuardRejected) as error:
            return None, error.code
        except TimeoutError:
            return None, "deadline"
        return cast("list[Any]", answer.found) if isinstance(answer.found, list) else [answer.found], ""


@cache
def extraction_prompt() -> str:
    """What the model that reads is told to be."""
    return (resources.files("chimera.guards.extraction") / "prompt.md").read_text("utf-8")


def _by_rules(source: Source, wanted: Mapping[str, Several]) -> Iterator[dict[str, Any]]:
    for name, several in wanted.items():
        for value in several.form.find(source):
            yield {"field": name, "value": value}


def _event(text: str, found: Extracted, asked: Asked, failed: str) -> AuditEvent:
    fields: dict[str, int] = {}
    for one in found.values:
        fields[one.field] = fields.get(one.field, 0) + 1
    data = {
        **asked.about,
        "threat": asked.threat,
        "by": found.by,
        "fields": fields,
        "dropped": found.dropped,
        "text": digest(text)[:16],
        **({"failed": failed} if failed else {}),
    }
    return AuditEvent(
        kind="extracted",
        actor=asked.agent_id,
        mission_id=asked.mission_id,
        tenant=str(asked.mission.get("tenant", "default")),
        data=data,
    )
