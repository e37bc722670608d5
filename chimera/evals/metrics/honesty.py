"""Whether what was written rests on what was read."""

import re

from chimera.evals.metrics.score import Score, no, share, yes
from chimera.evals.record import Record
from chimera.evals.truth import false_statement
from chimera.nodes.grounding import uncited_claims

_CITE = re.compile(r"\[([A-Za-z0-9_.-]+:[^\[\]\s]{1,80})\](?!\()")


def grounding(record: Record) -> Score | None:
    """Every claim of the answer and the files cites evidence of the result, and its numbers are in there."""
    texts = [text for text in record.documents.values() if text.strip()]
    if not texts or not record.case.expect.cited or record.status not in ("done", "partial"):
        return None
    wrong = list(uncited_claims(texts, record.evidence, record.observations))
    return no("; ".join(wrong[:3])) if wrong else yes("every claim is cited")


def fabrication(record: Record) -> Score | None:
    """Every id that is cited is one of the evidence, and all evidence is what the golden file itself says."""
    known = {item.id for item in record.evidence}
    cited = {cite for text in record.documents.values() for cite in _CITE.findall(text)}
    if not record.evidence and (not cited or not record.case.expect.cited):
        return None
    feeds = record.folder / "feeds"
    wrong = [why for item in record.evidence if (why := false_statement(item, feeds, record.observations))]
    wrong += [f"cites {cite}, which is no evidence" for cite in sorted(cited - known)]
    return share(wrong, len(known | cited), f"{len(record.evidence)} pieces of evidence are genuine")
