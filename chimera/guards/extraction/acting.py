"""When typed values stand in for what looks like an attack, and what a model is shown then.

Of records, only those that carry the threat are withheld; of a text in one piece, all of it.
"""

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Literal, cast

from chimera.core.contracts import Evidence, Threat
from chimera.core.state import Plain
from chimera.guards.extraction.extracted import Extracted
from chimera.guards.extraction.extractor import Asked, Extractor
from chimera.guards.extraction.forms import is_identifier
from chimera.guards.extraction.parts import declared_data, label_of, parts_of, projected, readable
from chimera.guards.extraction.projection import Declared, project
from chimera.guards.extraction.rows import (
    GRAVE,
    Carriers,
    Detector,
    Path,
    can_be_located,
    carriers,
    is_within,
    records_in,
    replaced,
    value_at,
)
from chimera.guards.extraction.schema import OF_KIND
from chimera.guards.extraction.standing import digest_of, lines, records, standing_in, whole_view
from chimera.guards.extraction.view import bounded, piece_of
from chimera.guards.injection.batching import BatchedDetector
from chimera.guards.injection.detector import InjectionDetector
from chimera.guards.provenance.labels import Level, Origin
from chimera.guards.provenance.manifest import Manifest
from chimera.tools.capability import Capability, ToolResult

When = Literal["never", "on_threat", "always"]
NOTE = "the text was withheld; these are the values of closed types that stand in it"
RECORD = "this record looks like an attack: only the values of closed types that stand in it are shown"
NOT_LOCATED = "it cannot be told where in all this the threat stands"
WHICH_MAX = 100
"""Withheld records that the record names."""
EVIDENCE_MAX = 200


class Extraction:
    """Decides by the setting ``extraction`` and by the threat that guards found, and makes what is shown instead."""

    def __init__(
        self,
        extractor: Extractor,
        when: When = "on_threat",
        manifests: Callable[[], Mapping[str, Manifest]] = dict[str, Manifest],
        detector: Detector | None = None,
    ) -> None:
        """``manifests``: what the operator declares, by the full name of a tool, as it is now."""
        self.extractor = extractor
        self._when = when
        self._manifests = manifests
        self._detector = detector or BatchedDetector(InjectionDetector())

    def of_results(self, threat: Threat) -> bool:
        """Whether a tool result of this threat is shown with typed values."""
        return self._when == "always" or self.of_messages(threat)

    def of_messages(self, threat: Threat) -> bool:
        """Whether what another agent said is shown with typed values."""
        return self._when != "never" and threat in GRAVE

    # --- results of tools ----------------------------------------------------------------------------------------

    async def result(
        self, result: ToolResult, capability: Capability | None, asked: Asked, raw: ToolResult | None = None
    ) -> Plain:
        """What a model is shown of a tool result: without the records that carry the threat, or its typed values.

        ``raw``: the result as it came, where guards have changed it since; what was hidden shows only there.
        """
        by_record = None if self._when == "always" else await self._by_record(result, capability, asked, raw or result)
        return by_record or await self._whole(result, capability, asked)

    async def _by_record(
        self, result: ToolResult, capability: Capability | None, asked: Asked, raw: ToolResult
    ) -> Plain | None:
        parts = parts_of(result)
        found = await self._located(parts, parts_of(raw), asked) if parts["data"] else None
        if found is None:
            return None
        put, by = await self._rows(parts, found, self._declared(result, capability), asked, _origin(capability))
        shown = replaced(parts, put)
        withheld = {"records": len(put), "of": records_in(parts), "read_by": by}
        return bounded(shown["data"], "", shown["evidence"], withheld=withheld)

    async def _located(self, parts: Any, raw: Any, asked: Asked) -> Carriers | None:
        """What carries the threat; None where all of it has to be withheld."""
        if not can_be_located(asked.rules):
            return None
        before = (await carriers(raw, self._detector) if raw != parts else None) or {}
        if any(value_at(parts, path) is None for path in before):
            return None
        return await carriers(parts, self._detector, before)

    async def _rows(
        self, parts: Any, found: Carriers, declared: Declared, asked: Asked, origin: Origin
    ) -> tuple[dict[Path, Plain], str]:
        """What stands in for each withheld record: its typed fields, and the values of its texts. And who read them."""
        outer = [path for path in sorted(found, key=str) if not is_within(path[:-1], found)]
        held = {path: projected(value_at(parts, path), path, declared) for path in outer}
        which = {label_of(one.data, path): found[path] for path, one in held.items()}
        about = {"records": len(outer), "of": records_in(parts), "which": which}
        values = await self._read([text for one in held.values() for text in one.texts], asked, about, origin)
        put: dict[Path, Plain] = {}
        for path, one in held.items():
            row: Plain = {"withheld": RECORD}
            if path[0] == "evidence":
                row = {"id": (one.data or {}).get("id", ""), **row}
            elif one.data:
                row["data"] = one.data
            put[path] = {**row, "found": standing_in("\n".join(one.texts), values)}
        return put, values.by

    async def _whole(self, result: ToolResult, capability: Capability | None, asked: Asked) -> Plain:
        """Nothing but typed fields, values from the texts, and ids that may be cited."""
        manifest = self._manifests().get(capability.name) if capability else None
        declared = self._declared(result, capability)
        data = declared_data(result, manifest)
        found = project(data, declared)
        text = result.text if data is None else "\n".join(found.texts)
        values = await self.extractor.extract(text, asked=asked, origin=_origin(capability))
        level = Level.OBSERVED if declared.fields else Level.UNTRUSTED
        pieces = [item for item in result.evidence if item.id in declared.ids]
        return {"note": NOTE, **whole_view(found.data, level, values, records(text, values, pieces), pieces)}

    def _declared(self, result: ToolResult, capability: Capability | None) -> Declared:
        manifest = self._manifests().get(capability.name) if capability else None
        return Declared(
            (capability.output_schema if capability else None) or {},
            {name: OF_KIND.get(kind) for name, kind in manifest.fields.items()} if manifest else {},
            frozenset(item.id for item in result.evidence[:EVIDENCE_MAX] if is_identifier(item.id)),
        )

    async def _read(self, texts: Sequence[str], asked: Asked, about: Mapping[str, Any], origin: Origin) -> Extracted:
        """The values of several texts, read in one go; what stands in several of them is read once."""
        which = dict(list(about["which"].items())[:WHICH_MAX])
        known = replace(asked, about={**asked.about, **about, "which": which})
        return await self.extractor.extract("\n".join(dict.fromkeys(texts)), asked=known, origin=origin)

    # --- words of agents -----------------------------------------------------------------------------------------

    async def message(self, text: str, evidence: Sequence[Mapping[str, Any]], asked: Asked) -> tuple[str, list[Plain]]:
        """What a model is shown of another agent's words and of their evidence, without what carries the threat."""
        pieces = [Evidence.model_validate(item) for item in evidence if is_identifier(str(item.get("id")))]
        parts: list[Any] = [text, *(piece_of(piece) for piece in pieces)]
        located = await self._located(parts, parts, asked)
        found = dict.fromkeys(((place,) for place in range(len(parts))), NOT_LOCATED) if located is None else located
        held = [place for place in range(len(parts)) if (place,) in found]
        texts = [text if place == 0 else pieces[place - 1].text for place in held if place == 0 or located is not None]
        which = {pieces[place - 1].id if place else "its words": found[place,] for place in held}
        about = {"records": len(held), "of": len(parts), "which": which}
        values = await self._read(texts, asked, about, Origin("other agent"))
        shown = "\n".join([f"[{NOTE}]", *lines(records(text, values, pieces))]) if 0 in held else text
        open_to_all = {piece.source for place, piece in enumerate(pieces, 1) if place not in held}
        return shown, [
            _blank(piece, values, open_to_all) if place in held else piece.plain()
            for place, piece in enumerate(pieces, 1)
        ]

    async def reasons(self, reasons: list[str], asked: Asked) -> list[str]:
        """What a model is shown of a list of sentences: each as it is, or the values that stand in it."""
        located = await self._located(reasons, reasons, asked)
        held = [place for place in range(len(reasons)) if located is None or (place,) in located]
        which = {f"#{place + 1}": (located or {}).get((place,), NOT_LOCATED) for place in held}
        about = {"records": len(held), "of": len(reasons), "which": which}
        values = await self._read([reasons[place] for place in held], asked, about, Origin("other agent"))
        shown: list[str] = []
        for place, reason in enumerate(reasons):
            shown += [f"[{NOTE}]", *lines(records(reason, values, []))] if place in held else [reason]
        return shown

    async def facts(self, evidence: Sequence[Evidence], texts: Sequence[str]) -> tuple[list[Plain], list[str]]:
        """What a model is shown of the evidence and of what tools said that a high threat was found in.

        No model is asked for the values, and nothing goes on the record: that was done where the agent was shown them.
        """
        read = [readable(text) for text in texts]
        parts = {"evidence": [piece_of(item) for item in evidence], "texts": read}
        found = await carriers(parts, self._detector)
        if found is None:
            found = {(name, place): NOT_LOCATED for name, held in parts.items() for place in range(len(held))}
        put = {path: await self._fact(value_at(parts, path), is_piece=path[0] == "evidence") for path in found}
        shown = replaced(parts, put)
        return shown["evidence"], [
            text if one == before else json.dumps(one, ensure_ascii=False)
            for one, before, text in zip(shown["texts"], read, texts, strict=True)
        ]

    async def _fact(self, value: Any, *, is_piece: bool) -> Plain:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        row: Plain = {"withheld": RECORD, "found": standing_in(text, await self.extractor.extract(text))}
        name = str(cast("dict[str, Any]", value)["id"]) if is_piece else ""
        return {"id": name, **row} if is_identifier(name) else row


def _blank(piece: Evidence, values: Extracted, sources: Set[str]) -> Plain:
    """A piece of evidence whose text is withheld; its source is named if a piece that passes names it."""
    said = "; ".join(f"{one['kind']} {one['value']}" for one in standing_in(piece.text, values))
    source = piece.source if piece.source in sources else ""
    text = f"[withheld: {RECORD}] {said}".rstrip()
    return {"id": piece.id, "text": text, "source": source, "sha256": digest_of(piece)}


def _origin(capability: Capability | None) -> Origin:
    return Origin("third party", capability.tool, capability.server) if capability else Origin("third party")
