"""HTML that cannot be broken out of: everything is escaped unless this module made it."""

import html

from chimera.evals.report.visible import visible

_VOID = frozenset({"meta", "input", "br"})


class Html(str):
    """Markup that was made here."""

    __slots__ = ()


Part = Html | str | int | float | None


def tag(name: str, /, *parts: Part, **attributes: str | bool) -> Html:
    """An element. Strings become text, ``None`` nothing. ``class_`` is class, ``for_`` for, other ``_`` become ``-``.

    An attribute of True stands without value, one of False is left out.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not False)
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*parts)}</{name}>")


def join(*parts: Part) -> Html:
    """Parts one after the other."""
    return Html("".join(_escaped(part) for part in parts if part is not None))


def raw(text: str) -> Html:
    """A text of this package, such as its style sheet, as it is."""
    return Html(text)


def _escaped(part: Html | str | float) -> str:
    return part if isinstance(part, Html) else html.escape(visible(str(part)))


def _attribute(key: str, value: str | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(visible(str(value)))}"'
