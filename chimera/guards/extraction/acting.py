"""When typed values stand in for a text, and what a model is shown then."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from chimera.core.contracts import Evidence, Threat
from chimera.core.state import Plain
from chimera.guards.extraction.extracted import Extracted
from chimera.guards.extraction.extractor import Asked, Extractor
from chimera.guards.extraction.forms import is_identifier
from chimera.guards.extraction.projection import Declared, project
from chimera.guards.extraction.schema import OF_KIND, OF_TEXT, checked
from chimera.guards.extraction.source import Source
from chimera.guards.provenance.labels import Level, Origin
from chimera.guards.provenance.manifest import Manifest, Shape
from chimera.guards.provenance.reading import read_result
from chimera.tools.capability import Capability, ToolResult

When = Literal["never", "on_threat", "always"]
VIEW_BYTES = 40_000
EVIDENCE_MAX = 200
NOTE = "the text was withheld; these are the values of closed types that stand in it"
_GRAVE = frozenset({Threat.HIGH, Threat.CRITICAL})
_DIGEST_LENGTH = 64


class Extraction:
    """Decides by the setting ``extraction`` and by the threat that guards found, and makes what is shown instead."""

    def __init__(
        self,
        extractor: Extractor,
        when: When = "never",
        manifests: Callable[[], Mapping[str, Manifest]] = dict[str, Manifest],
    ) -> None:
        """``manifests``: what the operator declares, by the full name of a tool, as it is now."""
        self.extractor = extractor
        self._when = when
        self._manifests = manifests

    def of_results(self, threat: Threat) -> bool:
        """Whether a tool result of this threat is shown as typed values."""
        return self._when == "always" or self.of_messages(threat)

    def of_messages(self, threat: Threat) -> bool:
        """Whether what another agent said is shown as typed values."""
        return self._when != "never" and threat in _GRAVE

    async def result(self, result: ToolResult, capability: Capability | None, asked: Asked) -> Plain:
        """What a model is shown of a tool result: typed fields, values from its texts, and ids that may be cited."""
        manifest = self._manifests().get(capability.name) if capability else None
        ids = frozenset(item.id for item in result.evidence[:EVIDENCE_MAX] if is_identifier(item.id))
        declared = Declared(
            (capability.output_schema if capability else None) or {},
            {name: OF_KIND.get(kind) for name, kind in manifest.fields.items()} if manifest else {},
            ids,
        )
        data = _data(result, manifest)
        found = project(data, declared)
        text = result.text if data is None else "\n".join(found.texts)
        origin = Origin("third party", capability.tool, capability.server) if capability else Origin("third party")
        values = await self.extractor.extract(text, asked=asked, origin=origin)
        level = Level.OBSERVED if declared.fields else Level.UNTRUSTED
        return _view(found.data, level, values, [item for item in result.evidence if item.id in declared.ids])

    async def message(self, text: str, evidence: Sequence[Mapping[str, Any]], asked: Asked) -> tuple[str, list[Plain]]:
        """What a model is shown of another agent's words: one line for each typed value, and evidence without text."""
        pieces = [Evidence.model_validate(item) for item in evidence if is_identifier(str(item.get("id")))]
        values = await self.extractor.extract(text, asked=asked, origin=Origin("other agent"))
        lines = [
            f"- {record['kind']}: {record['value']}{''.join(f' [{name}]' for name in record['evidence'])}"
            for record in _records(values, pieces)
        ]
        bare = [{"id": piece.id, "text": "", "source": "", "sha256": _digest(piece.sha256)} for piece in pieces]
        return "\n".join([f"[{NOTE}]", *lines]), bare


def _data(result: ToolResult, manifest: Manifest | None) -> Any:
    """The structured data of a result; of a text, only if the operator declared that it prints records."""
    if result.data is not None:
        return {key: value for key, value in result.data.items() if key != "evidence"}
    return read_result(result.text) if manifest is not None and manifest.shape is Shape.RECORDS else None


def _records(found: Extracted, evidence: Sequence[Evidence]) -> list[Plain]:
    """The values, each with the first piece of evidence that it stands in."""
    forms = checked(OF_TEXT)
    sources = [(piece.id, Source(piece.text)) for piece in evidence]
    return [
        {
            "kind": one.kind,
            "value": one.value,
            "evidence": [name for name, source in sources if forms[one.field].form.read(one.value, source) is not None][
                :1
            ],
        }
        for one in found.values
    ]


def _view(data: Any, level: Level, found: Extracted, evidence: Sequence[Evidence]) -> Plain:
    fields = cast("Plain", data) if isinstance(data, dict) else {"records": data} if data else {}
    records = _records(found, evidence)
    view: Plain = {
        "note": NOTE,
        "read_by": found.by,
        "dropped": found.dropped,
        "labels": {"data": level.name.lower(), "found": Level.UNTRUSTED.name.lower()},
        "data": {**fields, "found": records},
        "text": "",
        "evidence": [{"id": piece.id} for piece in evidence],
    }
    if len(json.dumps(view, ensure_ascii=False)) > VIEW_BYTES:
        view["data"] = {"found": records}
    return view


def _digest(text: str) -> str:
    return text if len(text) == _DIGEST_LENGTH and all(char in "0123456789abcdef" for char in text) else ""
