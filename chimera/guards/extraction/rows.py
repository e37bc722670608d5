"""Which records of some data carry the threat that was found in it: they are withheld, and the others pass.

A record is an item of a list. The filter looks at each by itself, and then at what would be left as a whole: an attack
that is spread over several records shows only there, by the stretches that tell it.
"""

import asyncio
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any, Protocol, cast

from chimera.core.contracts import Threat
from chimera.core.tasks import together
from chimera.guards.injection.detector import Finding
from chimera.guards.injection.scan import THREATS, InjectionScan

Path = tuple[str | int, ...]
"""Where something stands in plain data: keys and places, from the outside in."""

_Leaf = tuple[Path, str, bool]
"""The place of a text's record, the text, and whether it is a name."""

Carriers = Mapping[Path, str]
"""The places of records, each with the reason why it is withheld, in the words of the filter's rules."""

GRAVE = frozenset({Threat.HIGH, Threat.CRITICAL})
DEADLINE_S = 20.0
LOOKS = 4
"""How often what is left is looked at; what is still a threat then is withheld as a whole."""
RECORDS_MAX = 5_000
DEPTH_MAX = 32

_LOCATED = ("injection.", InjectionScan.rule, "text.hidden")
"""Rules whose findings this module can find again. A threat that another guard found may stand anywhere."""


class Detector(Protocol):
    """Scores texts, each once."""

    async def score(self, text: str) -> Finding:
        """The finding on one text; never raises on any text."""
        ...


def can_be_located(rules: Sequence[str]) -> bool:
    """Whether a threat that these rules found can be led back to records."""
    return bool(rules) and all(rule.startswith(_LOCATED) for rule in rules)


async def carriers(data: Any, detector: Detector, known: Carriers = MappingProxyType({})) -> Carriers | None:
    """The records that carry a high threat; None where it cannot be told which do, or it stands outside of any.

    Without those records, what is left of ``data`` is none. ``known`` are to be withheld anyway. Linear in the size of
    the data.
    """
    leaves = list(_leaves(data, (), None, DEPTH_MAX))
    records = _by_record(leaves)
    if len(records) > RECORDS_MAX:
        return None
    try:
        async with asyncio.timeout(DEADLINE_S):
            read = [(path, text) for path, texts in records.items() for text in texts]
            scored = await together(detector.score(text) for _, text in read)
            grave = {path: _why(one) for (path, _), one in zip(read, scored, strict=True) if _is_grave(one)}
            found: dict[Path, str] = {**known, **grave}
            for _ in range(LOOKS):
                left = [leaf for leaf in leaves if not is_within(leaf[0], found)]
                readings = [left, [leaf for leaf in left if not leaf[2]]]
                looked = await together(detector.score("\n".join(leaf[1] for leaf in part)) for part in readings)
                telling = [(part, one) for part, one in zip(readings, looked, strict=True) if _is_grave(one)]
                if not telling:
                    return None if () in found or not found else found
                touched = {path: _why(one) for part, one in telling for path in _touched(part, one)}
                if not touched:
                    return None
                found |= touched
    except TimeoutError:
        pass
    return None


def is_within(path: Path, found: Container[Path]) -> bool:
    """Whether a place is one of some places, or inside of one."""
    return any(path[:length] in found for length in range(len(path) + 1))


def records_in(data: Any) -> int:
    """How many records there are in some data."""
    return len({path for path, _, _ in _leaves(data, (), None, DEPTH_MAX) if path})


def replaced(data: Any, put: Mapping[Path, Any], at: Path = ()) -> Any:
    """The data with other values in some places."""
    if at in put:
        return put[at]
    if isinstance(data, Mapping):
        known = cast("Mapping[Any, Any]", data)
        return {key: replaced(item, put, (*at, str(key))) for key, item in known.items()}
    if isinstance(data, list):
        return [replaced(item, put, (*at, place)) for place, item in enumerate(cast("list[Any]", data))]
    return data


def value_at(data: Any, path: Path) -> Any:
    """What stands in a place; None where there is no such place."""
    for step in path:
        if isinstance(data, Mapping):
            data = cast("Mapping[Any, Any]", data).get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[step]
        else:
            return None
    return data


def _leaves(value: Any, at: Path, record: Path | None, depth: int) -> Iterator[_Leaf]:
    """Every text, keys too, in their order, each with the place of its record; the empty place is outside of any.

    Names in a list inside of a record are that record's; texts in a list of their own are records.
    """
    if isinstance(value, str):
        yield record or (), value, False
    elif depth <= 0:
        yield record or (), str(cast("object", value)), False
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            yield record or (), str(key), True
            yield from _leaves(item, (*at, str(key)), record, depth - 1)
    elif isinstance(value, list):
        for place, item in enumerate(cast("list[Any]", value)):
            here = (*at, place)
            own = here if record is None or isinstance(item, Mapping | list) else record
            yield from _leaves(item, here, own, depth - 1)


def _by_record(leaves: Sequence[_Leaf]) -> dict[Path, list[str]]:
    """What each record says, with its names and without: a name between two values must not part what they say."""
    found: dict[Path, list[_Leaf]] = {}
    for path, some in groupby(leaves, key=lambda leaf: leaf[0]):
        found.setdefault(path, []).extend(some)
    return {
        path: list(dict.fromkeys(["\n".join(t for _, t, _ in some), "\n".join(t for _, t, name in some if not name)]))
        for path, some in found.items()
    }


def _touched(left: Sequence[_Leaf], finding: Finding) -> Iterator[Path]:
    """The records that the telling stretches of what is left reach into."""
    start = 0
    for path, text, _ in left:
        end = start + len(text)
        if any(begins < end and ends > start for begins, ends, _ in finding.spans):
            yield path
        start = end + 1


def _why(finding: Finding) -> str:
    return finding.spans[0][2] if finding.spans else "reads like instructions to an AI"


def _is_grave(finding: Finding) -> bool:
    return THREATS[finding.level] in GRAVE
