"""Filling a tool's arguments from what the goal and the inputs say, guided by the tool's JSON Schema alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jsonschema import Draft202012Validator

from chimera.core.lexical import stems

COMPOSE = "{{compose}}"
"""Stands for: text that the worker composes from the results of the tasks before."""

_LITERAL = re.compile(r"""https?://[^\s"'<>]+|"([^"]{1,400})"|'([^']{2,400})'|[^\s"',;]+""")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_FILE = re.compile(r"[\w./-]*\w\.[A-Za-z]\w{0,7}")
_PLACES = frozenset(stems("file path url uri link folder directory"))
_PUNCTUATION = re.compile(r"[^\w\s]|_")


@dataclass(frozen=True)
class Filled:
    """Arguments found, and the names of required ones that were not."""

    arguments: dict[str, Any]
    missing: list[str]


def fill(schema: Mapping[str, Any], clause: str, inputs: Mapping[str, str], *, may_compose: bool) -> Filled:
    """Find a value for each property of an object schema.

    ``may_compose``: a required text that nothing else fills may be composed at run time from earlier results.
    """
    properties: dict[str, Any] = schema.get("properties") or {}
    required = list(schema.get("required") or [])
    free = dict(inputs)
    arguments: dict[str, Any] = {}
    missing: list[str] = []
    # Required ones choose first, and among them those that an input names, so that no input is taken by a worse fit.
    order = sorted(properties, key=lambda name: (name not in required, -_best_input(name, properties[name], free)[0]))
    for name in order:
        form = _plain_form(properties[name])
        value = _from_inputs(name, form, free)
        if value is None:
            value = _from_words(name, form, clause, is_required=name in required)
        if value is None and name in required:
            value = form.get("default")
        if value is not None:
            arguments[name] = value
    open_texts = [
        name
        for name in required
        if name not in arguments and _plain_form(properties.get(name, {})).get("type") == "string"
    ]
    if open_texts:
        body = _longest_text(open_texts, properties)
        quoted = [match[1] or match[2] for match in _LITERAL.finditer(clause) if match[1] or match[2]]
        if may_compose:
            arguments[body] = COMPOSE
        elif quoted and not _is_label(properties[body], body):
            arguments[body] = quoted[0]
        for name in open_texts:
            if name not in arguments and _is_label(properties[name], name):
                arguments[name] = _label(clause)
    missing = [name for name in required if name not in arguments]
    return Filled({name: arguments[name] for name in properties if name in arguments}, missing)


def _plain_form(form: Mapping[str, Any]) -> dict[str, Any]:
    """A property's schema with ``anyOf: [X, null]`` read as X."""
    choices = [choice for choice in form.get("anyOf") or [] if choice.get("type") != "null"]
    merged = {**form, **choices[0]} if choices else dict(form)
    kinds: Any = merged.get("type")
    if isinstance(kinds, list):
        merged["type"] = next((kind for kind in cast("list[str]", kinds) if kind != "null"), "string")
    return merged


def _about(name: str, form: Mapping[str, Any]) -> list[str]:
    return stems(f"{name} {form.get('title', '')} {form.get('description', '')}")


def _best_input(name: str, form: Mapping[str, Any], inputs: Mapping[str, str]) -> tuple[float, str]:
    """The input that fits an argument best: by its name, by words of the description, or as a place to read from."""
    about, own = set(_about(name, form)), set(stems(name))
    wants_place = bool(about & _PLACES)

    def fit(key: str) -> float:
        words = set(stems(key))
        shared = len(words & about) / len(words) if words else 0.0
        return 2.0 * (words == own) + shared + (wants_place and is_place(inputs[key]))

    usable = [key for key in inputs if _typed(form, inputs[key]) is not None]
    return max(((fit(key), key) for key in usable), default=(0.0, ""), key=lambda pair: pair[0])


def _from_inputs(name: str, form: Mapping[str, Any], free: dict[str, str]) -> Any:
    score, key = _best_input(name, form, free)
    if score <= 0:
        return None
    value = _typed(form, free[key])
    if value is not None and score >= 1:
        free.pop(key)  # one input serves one argument
    return value if score >= 1 else None


def _from_words(name: str, form: Mapping[str, Any], clause: str, *, is_required: bool) -> Any:
    if form.get("enum"):
        said = clause.lower()
        return next((value for value in form["enum"] if re.search(rf"\b{re.escape(str(value).lower())}\b", said)), None)
    mentioned = bool(set(stems(name)) & set(stems(clause)))
    if form.get("type") in ("integer", "number"):
        found = _NUMBER.search(clause)
        return _typed(form, found.group()) if found and (mentioned or is_required) else None
    if form.get("type", "string") != "string":
        return None
    return next((word for word in literals(clause) if _has_shape(word, form) and _typed(form, word) is not None), None)


def literals(clause: str) -> list[str]:
    """The words of a text that may be values: URLs, quoted texts without their quotes, and plain words."""
    return [match[1] or match[2] or match[0].rstrip(".!?:)") for match in _LITERAL.finditer(clause)]


def _has_shape(word: str, form: Mapping[str, Any]) -> bool:
    """Whether a word is written like the property's pattern, format or examples: same first punctuation, as in a/b."""
    if pattern := form.get("pattern"):
        try:
            return re.fullmatch(pattern, word) is not None and bool(_PUNCTUATION.search(word) or word.isupper())
        except re.error:
            return False
    if form.get("format") in ("uri", "url"):
        return word.startswith(("http://", "https://"))
    marks = _PUNCTUATION.findall(word)
    if not marks:
        return False
    examples = [str(example) for example in cast("list[Any]", form.get("examples") or [])]
    examples += [found for found in _quoted(str(form.get("description", ""))) if _PUNCTUATION.search(found)]
    if any(_PUNCTUATION.findall(example)[:1] == marks[:1] for example in examples) and re.match(r"\w", word):
        return True
    about = set(_about("", form))
    return bool(about & _PLACES) and is_place(word)


def is_place(word: str) -> bool:
    """Whether a word is written like a URL, a path or the name of a file."""
    return word.startswith(("http://", "https://", "/", "./", "../", "~/")) or bool(_FILE.fullmatch(word))


def _quoted(text: str) -> list[str]:
    return [a or b or c for a, b, c in re.findall(r"'([^']{2,80})'|\"([^\"]{2,80})\"|`([^`]{2,80})`", text)]


def _typed(form: Mapping[str, Any], text: str) -> Any:
    """The text as a value of the property's type; None when the property's schema does not allow it."""
    form = _plain_form(form)
    value: Any = None
    try:
        match form.get("type", "string"):
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
    return value if Draft202012Validator(form).is_valid(value) else None


def _longest_text(names: Sequence[str], properties: Mapping[str, Any]) -> str:
    """Which of several open texts is the body: the one that may be longest and is no label."""

    def room(name: str) -> tuple[bool, int]:
        return not _is_label(properties[name], name), int(_plain_form(properties[name]).get("maxLength", 10**6))

    return max(names, key=room)


def _is_label(form: Mapping[str, Any], name: str) -> bool:
    form = _plain_form(form)
    return int(form.get("maxLength", 10**6)) <= 256 or bool(form.get("pattern")) or stems(name) == ["name"]


def _label(clause: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", clause)[1:] or ["result"]
    stop = next((place for place, word in enumerate(words) if not stems(word) and place), len(words))
    kept = [word.lower() for word in words[:stop] if stems(word)][-2:] or ["result"]
    return "-".join(kept) + ".md"
