"""What tools have said so far, taken apart: typed fields that can be traced, and free text that cannot."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from chimera.guards.provenance.asking import Asking
from chimera.guards.provenance.labels import Level, Origin
from chimera.guards.provenance.manifest import Kind, Manifest, Shape
from chimera.guards.provenance.reading import read_result
from chimera.guards.provenance.tokens import same

RECORDS_MAX = 20_000
"""Records of one run that are kept; what comes later is text."""
VALUES_MAX = 500
"""Values of one field that are kept."""
NAME_MAX = 400
"""Characters; a longer value is no name, id or address."""


@dataclass(eq=False)
class Record:
    """One thing that a tool has told of."""

    manifest: Manifest
    group: int
    """Which read brought it."""
    values: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    """The typed fields."""
    text: str = ""
    """Everything else that it says; nothing is searched there for parties."""
    own: bool = False
    container: Any = None
    by_user: bool = False
    """Read with nothing but what the user named."""
    alone: bool = False
    """The only record of its read."""

    def of_kind(self, *kinds: Kind) -> Iterator[Any]:
        """The values of some kinds."""
        for name, values in self.values.items():
            if self.kind(name) in kinds:
                yield from values

    def kind(self, name: str) -> Kind:
        """What a field holds."""
        return self.manifest.fields.get(name, self.manifest.keeps)

    def origin(self, name: str) -> Origin:
        """Where the values of a field come from."""
        made_by = "own" if self.own else "third party"
        return Origin(made_by, self.manifest.tool, self.manifest.server, self.manifest.peer, name)


@dataclass(frozen=True)
class Place:
    """Where a value was found."""

    record: Record
    field: str


@dataclass(frozen=True)
class Document:
    """The text of one resource that the user named."""

    text: str
    origin: Origin


class Records:
    """Everything observed in one run."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._places: dict[tuple[Kind, str], list[Place]] = defaultdict(list)
        self._own_values: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self.all: list[Record] = []
        self.documents: list[Document] = []
        self._groups = 0

    def observe(self, manifest: Manifest, arguments: Mapping[str, Any], result: Any) -> list[Record]:
        """Take apart one result. ``result`` is the data, or the text as the model reads it.

        Only a tool that the operator declared to return records gives any; the text of all others stays text. A field
        that is not declared is text as well.
        """
        self._groups += 1
        found = [] if len(self.all) >= RECORDS_MAX else list(_records(manifest, result, self._groups))
        named = self._named_by_user(arguments)
        for record in found:
            record.by_user, record.alone = named, len(found) == 1
            record.container = arguments.get(manifest.container) if manifest.container else None
            record.own = manifest.own or self._is_own(record)
            self._keep(record)
        self._keep_document(manifest, arguments, result, found)
        return found

    def places(self, kind: Kind, value: Any) -> list[Place]:
        """The fields of a kind that hold exactly this value."""
        return self._places.get((kind, same(value)), [])

    def holds(self, kind: Kind) -> set[str]:
        """All known values of a kind, in the form of :func:`same`."""
        return {form for known, form in self._places if known == kind}

    def anywhere(self, value: Any) -> list[Place]:
        """The fields of any kind that hold exactly this value."""
        form = same(value)
        return [place for kind in Kind for place in self._places.get((kind, form), [])]

    def alike(self, record: Record) -> list[Record]:
        """All known records of the same kind of thing."""
        return [one for one in self.all if one.manifest.of == record.manifest.of]

    def _keep(self, record: Record) -> None:
        if len(self.all) >= RECORDS_MAX:
            return
        self.all.append(record)
        for name, values in record.values.items():
            for value in values:
                self._places[(record.kind(name), same(value))].append(Place(record, name))
                if record.manifest.own and not record.manifest.own_when:
                    self._own_values.add(same(value))

    def _is_own(self, record: Record) -> bool:
        for name, marks in record.manifest.own_when.items():
            forms = [same(value) for value in record.values.get(name, [])]
            known = {same(mark) for mark in marks}
            if any(form in known or ("$own" in marks and form in self._own_values) for form in forms):
                return True
        return False

    def _named_by_user(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a read asked for nothing but what the user named, or what such a read had listed."""
        texts = [text for value in arguments.values() for text in strings(value)]
        return bool(texts) and all(self._asking.names(text) or self._listed(text) for text in texts)

    def _listed(self, text: str) -> bool:
        return any(place.record.by_user for place in self.places(Kind.CHOICE, text))

    def _keep_document(
        self, manifest: Manifest, arguments: Mapping[str, Any], result: Any, found: list[Record]
    ) -> None:
        located = arguments.get(manifest.locator) if manifest.locator else None
        if located is None or not self._asking.names(located):
            return
        if manifest.shape == Shape.TEXT:
            text = result if isinstance(result, str) else ""
        else:
            text = found[0].text if len(found) == 1 else ""
        if text:
            self.documents.append(Document(text, Origin("named by the user", manifest.tool, manifest.server)))


def strings(value: Any) -> Iterator[str]:
    """Every text in a value, at any depth."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            stack.extend(cast("Mapping[Any, Any]", item).values())
        elif isinstance(item, list | tuple):
            stack.extend(cast("list[Any]", item))


def level_of(place: Place, *, pointed: bool) -> Level:
    """How far a typed value is trusted; ``pointed`` says whether the request points to its record."""
    if place.record.own:
        return Level.OWN
    return Level.DESIGNATED if pointed else Level.OBSERVED


def _records(manifest: Manifest, result: Any, group: int) -> Iterator[Record]:
    if manifest.shape == Shape.LISTING:
        yield from (Record(manifest, group, {"": [line]}) for line in _lines(result))
    elif manifest.shape == Shape.VALUES:
        data = read_result(result)
        whole = data if data is not None else result
        items: list[Any] = cast("list[Any]", whole) if isinstance(whole, list) else [whole]
        yield from (Record(manifest, group, {"": [item]}) for item in items if _is_name(item))
    elif manifest.shape == Shape.KEYED:
        data = read_result(result)
        pairs = cast("Mapping[Any, Any]", data).items() if isinstance(data, Mapping) else ()
        for key, about in pairs:
            if _is_name(key):
                yield Record(manifest, group, {"": [key]}, text="\n".join(strings(about)))
    elif manifest.shape == Shape.RECORDS:
        data = read_result(result)
        for item in cast("list[Any]", data)[:RECORDS_MAX] if isinstance(data, list) else [data]:
            if isinstance(item, Mapping):
                yield _record(manifest, group, cast("Mapping[str, Any]", item))


def _record(manifest: Manifest, group: int, item: Mapping[str, Any]) -> Record:
    record, texts = Record(manifest, group), list[str]()
    for name, value in item.items():
        kind = manifest.fields.get(str(name), Kind.TEXT)
        if kind == Kind.TEXT:
            texts.extend(strings(value))
            continue
        found = _parts(value)
        record.values[str(name)] = [part for part in found[:VALUES_MAX] if _is_name(part)]
    record.text = "\n".join(texts)
    return record


def _parts(value: Any) -> list[Any]:
    """A typed field's values: the items of a list, the keys of a mapping."""
    if isinstance(value, Mapping):
        return list(cast("Mapping[Any, Any]", value))
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _lines(result: Any) -> Iterator[str]:
    """The names of a listing; a heading before a colon on the first line is none of them."""
    texts = list(strings(result))
    for text in texts:
        for number, line in enumerate(text.splitlines()):
            head, colon, rest = line.partition(": ")
            body = rest if colon and number == 0 and len(head) < 60 else line
            for part in body.split(", ") if len(text.splitlines()) == 1 else [body]:
                if (name := part.strip(" \t-*•")) and _is_name(name):
                    yield name


def _is_name(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= NAME_MAX
    return isinstance(value, int | float) and not isinstance(value, bool)
