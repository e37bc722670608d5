"""What is known of each candidate for a request: figures between 0 and about 1, the same for a small and a large index.

None of them says how many tools there are, or which set of servers this is: the ranking has to hold elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from chimera.tools.discovery.matching import Scores
from chimera.tools.discovery.query import Query
from chimera.tools.discovery.segment import FIELDS, Entry
from chimera.tools.discovery.shelf import Shelf
from chimera.tools.discovery.terms import Flags, Floats, Places

CANDIDATES = 60
CLAUSE_CANDIDATES = 12
_SIBLINGS = 20
_FIELD_NAMES = ("server", "name", "description", "parameters")


@dataclass(frozen=True, slots=True)
class Seen:
    """All there is to see of a search: the request, the scores of all documents, and their servers as numbers."""

    query: Query
    scores: Scores
    entries: Sequence[Entry]
    servers: NDArray[np.intp]
    cosines: Floats | None = None
    """Rows are the parts of the request, as in ``scores``; of the dense model, if there is one."""

    def fused(self) -> Floats:
        """Both ways of matching words, each as a share of its best, by part of the request."""
        return (_shares(self.scores.bm25) + _shares(self.scores.vector)) / 2


def candidates(seen: Seen, fused: Floats, eligible: Flags) -> Places:
    """Places of the documents that deserve a closer look, in rising order."""
    rows = [fused] if seen.cosines is None else [fused, seen.cosines]
    found: set[int] = set()
    for kind, scores in enumerate(rows):
        for part, row in enumerate(scores):
            most = (CANDIDATES if part == 0 else CLAUSE_CANDIDATES) // (1 + kind)
            found.update(_top(np.where(eligible, row, -1.0), most))
    return np.array(sorted(found), dtype=np.intp)


def features(shelf: Shelf, seen: Seen, fused: Floats, places: Places) -> dict[str, Floats]:
    """The figures of each candidate, by name."""
    found: dict[str, Floats] = {}
    for name, row in (
        ("bm25", seen.scores.bm25[0]),
        ("telling", seen.scores.telling[0]),
        ("vector", seen.scores.vector[0]),
        ("fused", fused[0]),
    ):
        found |= _ranked(name, row, places)
    found |= _clauses(seen, fused, places, found)
    found |= _servers(seen, fused[0], places)
    found |= _words(shelf, seen, places)
    if seen.cosines is not None:
        found |= _dense(seen, seen.cosines, places)
    return found


def _ranked(name: str, row: Floats, places: Places) -> dict[str, Floats]:
    """A score as a share of the best, and its rank."""
    best = max(float(row.max(initial=0.0)), 1e-9)
    return {name: row[places] / best, f"{name}_rank": 1 / (1 + _ranks(row, places) / 3)}


def _clauses(seen: Seen, fused: Floats, places: Places, whole: dict[str, Floats]) -> dict[str, Floats]:
    """How well a candidate answers one of the clauses; those of the whole request where it has one."""
    parts = len(seen.query.parts)
    about = {
        "parts": np.full(len(places), min(parts, 6) / 6, dtype=np.float32),
        "words": np.full(len(places), min(int(seen.query.single.sum()), 40) / 40, dtype=np.float32),
    }
    if parts == 1:
        return about | {
            "clause_telling": whole["telling"],
            "clause_mean": whole["fused"],
            "clause_fused": whole["fused"],
            "clause_rank": whole["fused_rank"],
        }
    telling, best = seen.scores.telling[1:], seen.scores.telling[1:].max(axis=1, keepdims=True)
    weight = best / max(float(best.max()), 1e-9)
    clause = fused[1:] * weight
    ranks = np.stack([_ranks(row, places) for row in fused[1:]])
    return about | {
        "clause_telling": (telling[:, places] / np.maximum(best, 1e-9) * weight).max(axis=0),
        "clause_mean": clause[:, places].sum(axis=0) / max(float(weight.sum()), 1e-9),
        "clause_fused": clause[:, places].max(axis=0),
        "clause_rank": (np.sqrt(weight) / (1 + ranks / 2)).max(axis=0),
    }


def _servers(seen: Seen, fused: Floats, places: Places) -> dict[str, Floats]:
    """What the other tools of the same server say for it."""
    count = int(seen.servers.max(initial=0)) + 1
    best = np.zeros(count, dtype=np.float32)
    np.maximum.at(best, seen.servers, fused)
    top = np.array(_top(fused, _SIBLINGS), dtype=np.intp)
    gains = np.zeros(len(fused), dtype=np.float32)
    gains[top] = 1 / (1 + _ranks(fused, top) / 3)
    standing = np.bincount(seen.servers, gains, minlength=count)
    own = seen.servers[places]
    return {
        "server_best": best[own],
        "server_standing": standing[own] / max(float(standing.max()), 1e-9),
        "server_others": (standing[own] - gains[places]) / 3,
        "server_gap": best[own] - fused[places],
        "server_alone": np.bincount(seen.servers[seen.scores.alive], minlength=count)[own] == 1,
    }


def _words(shelf: Shelf, seen: Seen, places: Places) -> dict[str, Floats]:
    """Which words of the request each field has, and which of the field's own the request has."""
    query = seen.query
    rare, spatial = shelf.idf()
    unseen = float(np.log1p(2 * shelf.count))
    known = query.ids >= 0
    idf = np.where(known, rare[np.maximum(query.ids, 0)] if len(rare) else 0.0, unseen)
    has = np.zeros((len(places), len(query.ids), FIELDS), dtype=np.bool_)
    backwards = np.zeros((len(places), 3), dtype=np.float32)
    pair = shelf.terms.is_pair()
    for at, place in enumerate(cast("list[int]", places.tolist())):
        entry = seen.entries[place]
        if not len(entry.terms):
            continue
        where = np.minimum(np.searchsorted(entry.terms, query.ids), len(entry.terms) - 1)
        has[at] = (entry.counts[where] > 0) & (entry.terms[where] == query.ids)[:, None]
        weights = (entry.counts[:, :3] > 0) * (rare[entry.terms] * ~pair[entry.terms])[:, None]
        shared = (has[at, :, :3] * (idf * query.single)[:, None]).sum(axis=0)
        backwards[at] = shared / np.maximum(weights.sum(axis=0), 1e-9)
    weight = idf * query.telling * query.single
    total = float(weight.sum()) + 1e-9
    anywhere: Flags = np.any(has, axis=2)
    found = {f"covers_{name}": has[:, :, at] @ weight / total for at, name in enumerate(_FIELD_NAMES)}
    found |= {f"covered_{name}": backwards[:, at] for at, name in enumerate(_FIELD_NAMES[:3])}
    strongest = np.sqrt(float(np.square(np.where(known, spatial[np.maximum(query.ids, 0)], unseen)).sum())) + 1e-9
    found |= {
        "covers": anywhere @ weight / total,
        "covers_title": (has[:, :, 0] | has[:, :, 1]) @ weight / total,
        "covers_text": (has[:, :, 1] | has[:, :, 2]) @ weight / total,
        "pairs": anywhere @ (idf * query.telling * ~query.single) / total,
        "pairs_name": has[:, :, 1] @ (idf * ~query.single) / total,
        "rarest": (anywhere * weight).max(axis=1, initial=0.0) / max(float(weight.max(initial=0.0)), 1e-9),
        "matches": np.minimum((anywhere * query.single).sum(axis=1), 8) / 8,
        "strength": seen.scores.telling[0][places] / (2.5 * total),
        "cosine_words": seen.scores.vector[0][places] / strongest,
        "covers_clause": _clause_cover(query, anywhere, weight) if len(query.parts) > 1 else anywhere @ weight / total,
        "described": np.array(
            [np.log1p(seen.entries[place].sizes[2]) / 5 for place in cast("list[int]", places.tolist())],
            dtype=np.float32,
        ),
    }
    return found


def _clause_cover(query: Query, anywhere: Flags, weight: Floats) -> Floats:
    """The largest share of one clause that a candidate has; a clause that says little counts less."""
    each = query.within[1:] * weight
    sums = each.sum(axis=1) + 1e-9
    return (anywhere @ each.T / sums * np.sqrt(sums / sums.max())).max(axis=1)


def _dense(seen: Seen, cosines: Floats, places: Places) -> dict[str, Floats]:
    """The dense model's opinion."""
    whole = cosines[0]
    spread = _standard(cosines)
    low = float(whole.min(initial=0.0))
    mix = 0.4 * _shares(seen.scores.bm25)[0] + 0.6 * (whole - low) / max(float(whole.max(initial=0.0)) - low, 1e-9)
    count = int(seen.servers.max(initial=0)) + 1
    best = np.full(count, -1.0, dtype=np.float32)
    np.maximum.at(best, seen.servers, whole)
    own = best[seen.servers[places]]
    clauses = slice(1, None) if len(cosines) > 1 else slice(0, 1)
    ranks = np.stack([_ranks(row, places) for row in cosines[clauses]])
    found = _ranked("dense", np.maximum(whole, 0), places) | _ranked("mix", mix, places)
    return found | {
        "dense_cosine": whole[places],
        "dense_spread": spread[0][places] / 5,
        "dense_clause": cosines[clauses][:, places].max(axis=0),
        "dense_clause_mean": cosines[clauses][:, places].mean(axis=0),
        "dense_clause_spread": spread[clauses][:, places].max(axis=0) / 5,
        "dense_clause_rank": (1 / (1 + ranks / 2)).max(axis=0),
        "dense_server": own,
        "dense_server_gap": own - whole[places],
    }


def _standard(rows: Floats) -> Floats:
    return (rows - rows.mean(axis=1, keepdims=True)) / np.maximum(rows.std(axis=1, keepdims=True), 1e-9)


def _shares(rows: Floats) -> Floats:
    return rows / np.maximum(rows.max(axis=1, keepdims=True, initial=0.0), 1e-9)


def _ranks(row: Floats, places: Places) -> NDArray[np.intp]:
    """How many documents are better than each candidate."""
    ordered = np.sort(row)
    return len(ordered) - np.searchsorted(ordered, row[places], side="right")


def _top(row: Floats, most: int) -> list[int]:
    """Places of the ``most`` largest that are above zero, best first, equal ones in the order of places."""
    found = np.flatnonzero(row > 0)
    if len(found) > most:
        least = np.partition(row[found], len(found) - most)[len(found) - most]
        found = found[row[found] >= least]
    return found[np.argsort(-row[found], kind="stable")][:most].tolist()
