"""Checks that need no model: whether every claim cites evidence that exists and that holds its numbers."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from chimera.core.contracts import Check, Criterion, Evidence, TaskResult
from chimera.core.fit import misfit
from chimera.nodes.figures import Holdings, figures
from chimera.nodes.sentences import CITE, sentences

_BULLET = re.compile(r"(?:[-*+]|\d{1,9}[.)])\s+")
_SOURCES = re.compile(r"#+\s*(?:sources|references|quellen)\W*", re.IGNORECASE)
_NOT_KNOWN = re.compile(
    r"\b(?:not (?:know|known|show|say|clear)|unknown|no (?:evidence|data|source)s?|nothing)\b", re.I
)
STATEMENT_WORDS = 6
"""Fewer words than this state nothing that would need a source."""

_RULE_CHARACTERS = frozenset("-:|*_= ")


def check(
    criterion: Criterion,
    result: TaskResult,
    documents: Sequence[str],
    evidence: Iterable[Evidence],
    facts: Iterable[str],
) -> Check:
    """Check one criterion, other than ``text``, on a result.

    ``documents``: the answer and the text of each artifact. ``evidence``: what may be cited. ``facts``: the tool
    results that numbers may come from.
    """
    match criterion.kind:
        case "nonempty":
            passed, why = bool(result.answer.strip() or result.artifacts), "there is no answer"
        case "artifact":
            names = [artifact.name for artifact in result.artifacts]
            passed = criterion.value in names if criterion.value else bool(names)
            why = f"no artifact {criterion.value}".strip()
        case "contains":
            passed = any(criterion.value.lower() in text.lower() for text in documents)
            why = f"{criterion.value!r} does not occur"
        case "schema":
            why = _schema_violation(criterion.value, result.answer)
            passed = not why
        case _:
            why = next(uncited_claims(documents, evidence, facts), "")
            passed = not why
    shown = f"{criterion.kind} {criterion.value}".strip()
    return Check(criterion=shown, passed=passed, why="" if passed else why)


def uncited_claims(documents: Sequence[str], evidence: Iterable[Evidence], facts: Iterable[str]) -> Iterator[str]:
    """What is wrong with the claims of some documents; nothing when all are grounded.

    A claim is a list item, a table row with a number, or a sentence of prose that has a number or states something.
    Each cites its own evidence; a sentence that follows the last citation of a list item is a claim like one of prose.
    Headings, words that lead over to a list, and the words that something is not known are none; in the list of sources
    only the ids are looked at.
    """
    evidence, facts = list(evidence), list(facts)
    known = {item.id for item in evidence}
    # A bracket that stands in the material itself, such as [WIP] in a title, is quoted and cites nothing.
    quoted = {found for text in [*(item.text for item in evidence), *facts] for found in CITE.findall(text)} - known
    holdings = Holdings(evidence, facts)
    statements = [said for text in documents for said in _statements(text, known)]
    if not any(said.is_claim for said in statements) and not any(known.intersection(said.cites) for said in statements):
        yield "nothing is cited"
    for said in statements:
        unknown = [cite for cite in said.cites if cite not in known and cite not in quoted]
        cites = known.intersection(said.cites)
        if unknown:
            yield f"cites {unknown[0]}, which no tool gave"
        elif said.is_claim and not cites:
            yield f"has no citation: {said.text.strip()[:120]}"
        elif said.is_claim:
            made_up = next(holdings.lacks(CITE.sub(" ", said.text), cites), None)
            if made_up is not None:
                yield f"says {made_up}, which its evidence does not hold: {said.text.strip()[:120]}"


def grounded_share(documents: Sequence[str], evidence: Iterable[Evidence], facts: Iterable[str]) -> float | None:
    """The share of the claims that their evidence holds; None where nothing is claimed."""
    evidence = list(evidence)
    known = {item.id for item in evidence}
    claims = sum(said.is_claim for text in documents for said in _statements(text, known))
    if not claims:
        return None
    return max(0.0, 1.0 - sum(1 for _ in uncited_claims(documents, evidence, facts)) / claims)


@dataclass(frozen=True)
class _Statement:
    text: str
    cites: Sequence[str]
    is_claim: bool


def _statements(text: str, known: set[str]) -> Iterator[_Statement]:
    """What a document says or cites, by item, row or sentence; headings, rules and the fences of code are left out."""
    in_sources = False
    for raw in text.splitlines():
        line = raw.strip().lstrip("> ")
        if line.startswith("#"):
            in_sources = _SOURCES.fullmatch(line) is not None
            continue
        if not line or line.startswith("```") or _RULE_CHARACTERS.issuperset(line):
            continue
        bullet = _BULLET.match(line)
        says = line[bullet.end() :] if bullet else line
        if in_sources:
            yield _statement(says, is_claim=False)
        elif bullet:
            yield from _item(says, known)
        elif line.startswith("|"):
            yield _statement(says, is_claim=_has_number(says))
        else:
            is_quotation = raw.strip().startswith(">")
            for part in sentences(says):
                yield _statement(part, is_claim=_has_number(part) or (_says_something(part) and not is_quotation))


def _item(text: str, known: set[str]) -> Iterator[_Statement]:
    """A list item is one claim up to its last citation; what is said behind that stands alone."""
    parts = list(sentences(text))
    cited = [place for place, part in enumerate(parts, 1) if known.intersection(CITE.findall(part))]
    end = cited[-1] if cited else len(parts)
    yield _statement(" ".join(parts[:end]), is_claim=True)
    for part in parts[end:]:
        yield _statement(part, is_claim=_has_number(part) or _says_something(part))


def _statement(text: str, *, is_claim: bool) -> _Statement:
    return _Statement(text, CITE.findall(text), is_claim)


def _says_something(text: str) -> bool:
    words = CITE.sub(" ", text).split()
    return len(words) >= STATEMENT_WORDS and not text.endswith(":") and _NOT_KNOWN.search(text) is None


def _has_number(text: str) -> bool:
    return next(figures(CITE.sub(" ", text)), None) is not None


def _schema_violation(schema: str, answer: str) -> str:
    try:
        form, value = json.loads(schema), json.loads(answer)
    except (ValueError, RecursionError):
        return "the answer or the schema is not JSON"
    if not isinstance(form, dict):
        return "the schema is no JSON Schema"
    return misfit(cast("dict[str, Any]", form), value) or ""
