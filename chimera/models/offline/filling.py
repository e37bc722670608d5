"""Filling a tool's arguments from what the goal and the inputs say, guided by the tool's JSON Schema alone."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chimera.core.fit import fits, misfit
from chimera.core.forms import properties
from chimera.core.lexical import stems
from chimera.models.offline import words
from chimera.models.offline.shapes import (
    ENDS,
    FORMAL,
    OPENING_WORDS,
    PLACES,
    SEARCHED,
    STARTS,
    TITLES,
    WRITTEN,
    about,
    has_shape,
    is_label,
    is_written,
)
from chimera.models.offline.words import is_place

COMPOSE = "{{compose}}"
"""Stands for: text that the worker composes from the results of the tasks before."""


@dataclass(frozen=True)
class Filled:
    """Arguments found, the names of required ones that were not, and the words of the clause that became values."""

    arguments: dict[str, Any]
    missing: list[str]
    taken: list[str] = field(default_factory=list[str])


def fill(
    schema: Mapping[str, Any],
    clause: str,
    inputs: Mapping[str, str],
    *,
    places: Sequence[str] = (),
    said: str = "",
    may_compose: bool,
) -> Filled:
    """Find a value for each property of an object schema; every value stands in the goal, the inputs or the schema.

    ``places``: files and URLs that the goal names outside this clause. ``said``: what the tool says of itself; its own
    words are no values. ``may_compose``: a required text that nothing else fills may be composed at run time from
    earlier results.
    """
    return _Filling(schema, clause, inputs, places, set(stems(said))).fill(may_compose=may_compose)


class _Filling:
    """One tool's arguments in the making. An input and a word of the clause serve one argument each."""

    def __init__(
        self,
        schema: Mapping[str, Any],
        clause: str,
        inputs: Mapping[str, str],
        places: Sequence[str],
        own_words: set[str],
    ) -> None:
        self._schema = schema
        self._forms = properties(schema)
        # A property is checked together with the definitions that it may refer to.
        self._definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        self._required = [name for name in schema.get("required") or [] if isinstance(name, str)]
        self._clause = clause
        self._inputs = dict(inputs)
        self._places = list(places)
        self._own_words = own_words
        self._arguments: dict[str, Any] = {}
        self._taken: list[str] = []

    def fill(self, *, may_compose: bool) -> Filled:
        """Find what can be found."""
        # Required ones choose first, and among them those that an input fits, so that none is taken by a worse fit.
        order = sorted(self._forms, key=lambda name: (name not in self._required, -self._best_input(name)[0]))
        for step in (self._from_named_input, self._from_clause, self._from_any_place):
            for name in order:
                if name not in self._arguments and (value := step(name)) is not None:
                    self._arguments[name] = value
        self._count()
        if may_compose:
            self._compose()
        for name in self._required:
            default = self._forms.get(name, {}).get("default")
            if name not in self._arguments and default is not None and self._fits(name, default):
                self._arguments[name] = default
        missing = [name for name in self._required if name not in self._arguments]
        ordered = {name: self._arguments[name] for name in self._forms if name in self._arguments}
        if not missing and (problem := misfit(self._schema, ordered)):  # what only the whole can break
            missing = [problem]
        return Filled(ordered, missing, self._taken)

    # --- inputs and places ---------------------------------------------------------------------------------------

    def _from_named_input(self, name: str) -> Any:
        score, key = self._best_input(name)
        named = score >= 1 and bool(set(stems(key)) & about(name, self._forms[name]))
        return self._typed(name, self._inputs.pop(key)) if named else None

    def _from_any_place(self, name: str) -> Any:
        score, key = self._best_input(name)
        if score >= 1:
            return self._typed(name, self._inputs.pop(key))
        if not about(name, self._forms[name]) & PLACES:
            return None
        place = next((word for word in self._places if self._typed(name, word) is not None), None)
        return None if place is None else self._typed(name, self._places.pop(self._places.index(place)))

    def _best_input(self, name: str) -> tuple[float, str]:
        """The input that fits an argument best: by its name, by words of the description, or as a place to read."""
        speaks, own = about(name, self._forms[name]), set(stems(name))
        wants_place = bool(speaks & PLACES)

        def fit(key: str) -> float:
            said = set(stems(key))
            shared = len(said & speaks) / len(said) if said else 0.0
            return 2.0 * (said == own) + shared + (wants_place and is_place(self._inputs[key]))

        usable = [
            key
            for key in self._inputs
            if self._typed(name, self._inputs[key]) is not None
            # A file or URL is no keyword, whatever the input is called.
            and (wants_place or set(stems(key)) == own or not is_place(self._inputs[key]))
        ]
        return max(((fit(key), key) for key in usable), default=(0.0, ""), key=lambda pair: pair[0])

    # --- the clause ----------------------------------------------------------------------------------------------

    def _from_clause(self, name: str) -> Any:
        form = self._forms[name]
        if choices := form.get("enum"):
            clause = words.without(self._clause, [word for word in words.literals(self._clause) if is_place(word)])
            said = [choice for choice in choices if _says(clause, str(choice)) and self._fits(name, choice)]
            return self._take(str(said[0]), said[0]) if said else None
        if form.get("type") == "array":
            listed = self._listed(name)
            return [self._take(text, text) for text in listed] if listed and self._fits(name, listed) else None
        if form.get("type", "string") != "string":
            return None
        usable = (text for text in self._candidates(name, form) if text not in self._taken and self._fits(name, text))
        found = next(usable, None)
        return None if found is None else self._take(found, found)

    def _listed(self, name: str) -> list[str]:
        """The places of the clause, or its quoted texts, for an argument that takes several."""
        if about(name, self._forms[name]) & PLACES:
            found = [word for word in words.literals(self._clause) if is_place(word)]
        else:
            found = words.quoted(self._clause) if name in self._required else []
        return [text for text in found if text not in self._taken]

    def _candidates(self, name: str, form: Mapping[str, Any]) -> Iterator[str]:
        """The words that may be this text, the likeliest first."""
        own, clause = set(stems(name)), self._clause
        # What is to be called so does not exist yet: no place to read from.
        fresh = words.called(clause) if not own & (TITLES | ENDS) else []
        shaped = [word for word in words.literals(clause) if has_shape(word, name, form) and word not in fresh]
        if own & STARTS or own & ENDS:
            yield from (word for word in shaped if words.follows(clause, word, start=bool(own & STARTS)))
        yield from shaped
        opening = set(stems(str(form.get("description", ""))[:2_000])[:OPENING_WORDS])
        searched = bool(own & SEARCHED) and not (own | opening) & FORMAL
        is_wanted = name in self._required or searched
        if not is_wanted or own & PLACES or form.get("pattern") or form.get("format"):
            return
        if own & TITLES:
            yield from words.called(clause)
        yield from (text for text in words.quoted(clause) if not is_place(text))
        if searched:
            yield from words.subject(clause)
        elif not own & (SEARCHED | WRITTEN):
            nouns = [stem for stem in stems(name) if stem not in ("name", "id")]
            found = [*words.names(clause), *words.beside(nouns, clause)]
            yield from (text for text in found if not set(stems(text)) <= self._own_words)

    def _count(self) -> None:
        """Give the numbers of the clause to the arguments that the words around them speak of.

        Required ones that nothing speaks of take the others, in their order.
        """
        wanted = [name for name in self._forms if self._forms[name].get("type") in ("integer", "number")]
        pairs = [
            (len(near & about(name, self._forms[name])) + 0.5 * (name in self._required), place, name, text)
            for place, (text, near) in enumerate(words.numbers(self._clause))
            for name in wanted
            if text not in self._taken
        ]
        placed: set[int] = set()
        for score, place, name, text in sorted(pairs, key=lambda pair: (-pair[0], pair[1])):
            value = self._typed(name, text)
            if score > 0 and name not in self._arguments and place not in placed and value is not None:
                placed.add(place)
                self._arguments[name] = self._take(text, value)

    # --- what is written -----------------------------------------------------------------------------------------

    def _compose(self) -> None:
        """Leave the longest open text to be composed; a document that is made here gets its name here too."""
        is_open = [
            name
            for name in self._required
            if name not in self._arguments and self._forms.get(name, {}).get("type") == "string"
        ]
        bodies = [name for name in is_open if is_written(name, self._forms[name]) and self._fits(name, COMPOSE)]
        if not bodies:
            return
        self._arguments[max(bodies, key=lambda name: int(self._forms[name].get("maxLength", 10**6)))] = COMPOSE
        label = _label(self._clause)
        for name in is_open:
            if name not in self._arguments and is_label(name, self._forms[name]) and self._fits(name, label):
                self._arguments[name] = label

    # --- values --------------------------------------------------------------------------------------------------

    def _fits(self, name: str, value: Any) -> bool:
        return fits({**self._definitions, **self._forms[name]}, value)

    def _take(self, text: str, value: Any) -> Any:
        self._taken.append(text)
        return value

    def _typed(self, name: str, text: str) -> Any:
        """The text as a value of the property's type; None when the property's schema does not allow it."""
        value: Any = None
        try:
            match self._forms[name].get("type", "string"):
                case "integer":
                    value = int(text)
                case "number":
                    value = float(text)
                case "boolean":
                    value = {"true": True, "false": False}.get(text.lower())
                case "array":
                    value = [part.strip() for part in text.split(",") if part.strip()]
                case "string":
                    value = text
                case _:
                    return None
        except ValueError:
            return None
        return value if value is not None and self._fits(name, value) else None


def _says(clause: str, choice: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", clause, re.IGNORECASE) is not None


def _label(clause: str) -> str:
    found = re.findall(r"[A-Za-z0-9]+", clause)[1:] or ["result"]
    stop = next((place for place, word in enumerate(found) if not stems(word) and place), len(found))
    kept = [word.lower() for word in found[:stop] if stems(word)][-2:] or ["result"]
    return "-".join(kept) + ".md"
