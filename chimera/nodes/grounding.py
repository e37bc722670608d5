"""Checks that need no model: whether every claim cites evidence that exists and that holds its numbers."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from chimera.core.contracts import Check, Criterion, Evidence, TaskResult

_CITE = re.compile(r"\[([^\[\]\s]{1,120})\]")
_NUMBER = re.compile(r"(?<![\w.,/#:@-])\d+(?:[.,]\d+)*(?![\w/#:@-])")
_BULLET = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
_EXEMPT = re.compile(r"^\s*(?:#|>|```|---|\|?\s*[-:| ]+\|?\s*$)")
_SOURCES = re.compile(r"^#+\s*(?:sources|references|quellen)\s*$", re.IGNORECASE)


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

    A claim is a list item, or a sentence with a number; headings, quotes and the list of sources are none.
    """
    known = {item.id: item.text for item in evidence}
    numbers = {number for text in [*known.values(), *facts] for number in _numbers(text)}
    claims = [claim for text in documents for claim in _claims(text)]
    if not claims and not any(_CITE.search(text) for text in documents):
        yield "nothing is cited"
    for claim in claims:
        cites = _CITE.findall(claim)
        unknown = [cite for cite in cites if cite not in known]
        if unknown:
            yield f"cites {unknown[0]}, which no tool gave"
        elif not cites:
            yield f"has no citation: {claim.strip()[:120]}"
        else:
            made_up = [number for number in _numbers(_CITE.sub(" ", claim)) if not _occurs(number, numbers)]
            if made_up:
                yield f"says {made_up[0]}, which no tool gave: {claim.strip()[:120]}"


def _claims(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if _SOURCES.match(line):
            return
        if not line.strip() or _EXEMPT.match(line):
            continue
        if _BULLET.match(line):
            yield _BULLET.sub("", line)
        else:
            sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z0-9])", line)
            yield from (sentence for sentence in sentences if _NUMBER.search(_CITE.sub(" ", sentence)))


def _numbers(text: str) -> list[str]:
    return [found.replace(",", "") for found in _NUMBER.findall(text)]


def _occurs(number: str, known: set[str]) -> bool:
    """Whether a number is among the known ones, exactly or as one of them rounded."""
    if number in known:
        return True
    places = len(number.partition(".")[2])
    try:
        wanted = float(number)
        return any(round(float(other), places) == wanted for other in known if other.count(".") < 2)
    except ValueError:
        return False


def _schema_violation(schema: str, answer: str) -> str:
    try:
        error = next(Draft202012Validator(json.loads(schema)).iter_errors(json.loads(answer)), None)
    except (ValueError, SchemaError):
        return "the answer or the schema is not JSON"
    return f"{'/'.join(map(str, error.absolute_path)) or 'answer'} violates {error.validator}" if error else ""
