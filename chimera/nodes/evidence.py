"""The evidence of several answers in one list, in which an id names one piece."""

import re
from collections.abc import Iterable, Sequence

from chimera.core.contracts import Evidence

ID_KEPT = 110
CITED = re.compile(r"\[([^\[\]\s]{1,120})\]")
"""A citation in an answer: the id of a piece of evidence in brackets."""


def one_list(parts: Iterable[tuple[str, Sequence[Evidence]]]) -> tuple[list[str], list[Evidence]]:
    """The answers, and the evidence of all of them.

    ``parts`` are answers, each with the evidence that it may cite. The same piece is listed once. Different pieces may
    come with one id, as tools number what they give anew in every call: the later ones get an id of their own, and the
    answer that came with them cites that.
    """
    by_id: dict[str, Evidence] = {}
    answers: list[str] = []
    for answer, evidence in parts:
        ids: dict[str, str] = {}
        for piece in evidence:
            ids.setdefault(piece.id, _listed(piece, by_id))
        answers.append(CITED.sub(lambda found, ids=ids: f"[{ids.get(found[1], found[1])}]", answer))
    return answers, list(by_id.values())


def _listed(piece: Evidence, by_id: dict[str, Evidence]) -> str:
    """The id under which a piece is in the list, where it is put if it is new."""
    name, number = piece.id, 1
    while True:
        listed = by_id.setdefault(name, piece.model_copy(update={"id": name}))
        if listed.model_copy(update={"id": piece.id}) == piece:
            return name
        number += 1
        name = f"{piece.id[:ID_KEPT]}~{number}"
