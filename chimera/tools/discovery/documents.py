"""What the index reads of a tool: its words by field, with limits that no server can write past."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from chimera.tools.capability import Capability
from chimera.tools.discovery.puffery import Screen, plain, plain_list
from chimera.tools.discovery.words import spaced

DESCRIPTION_MAX = 1_200
PARAMETERS_MAX = 1_600
NAME_MAX = 160
_DEPTH_MAX = 4
_PROPERTIES_MAX = 40
_VALUES_MAX = 12


@dataclass(frozen=True, slots=True)
class ToolDocument:
    """One tool as the index sees it. ``name`` is its full name, ``tool`` the server's own."""

    name: str
    server: str
    tool: str
    description: str = ""
    parameters: str = ""

    def text(self, screen: Screen | None = None) -> str:
        """The tool as one text, for a dense model."""
        server, tool, description, _ = self.fields(screen)
        return f"{spaced(server)} {spaced(tool)}: {description}".strip()

    def fields(self, screen: Screen | None = None) -> tuple[str, str, str, str]:
        """The texts of the fields server, tool, description and parameters: cut to what counts, without puffery.

        A server that calls its only tool by its own name says its name once.
        """
        server = "" if self.server == self.tool else self.server[:NAME_MAX]
        description = plain(self.description[:DESCRIPTION_MAX], screen)
        return server, self.tool[:NAME_MAX], description, plain_list(self.parameters[:PARAMETERS_MAX], screen)


def document_of(capability: Capability) -> ToolDocument:
    """The document of a tool."""
    return ToolDocument(
        name=capability.name,
        server=capability.server,
        tool=capability.tool,
        description=capability.description[:DESCRIPTION_MAX],
        parameters=parameter_text(capability.input_schema),
    )


def parameter_text(schema: object) -> str:
    """Names, descriptions and values of a JSON Schema's properties, as one text of bounded length."""
    found: list[str] = []
    size = 0
    for part in _parts(schema, 0):
        found.append(part[:PARAMETERS_MAX])
        size += len(found[-1]) + 1
        if size > PARAMETERS_MAX:
            break
    return " ".join(found)[:PARAMETERS_MAX]


def _parts(schema: object, depth: int) -> Iterator[str]:
    properties = _mapping(_mapping(schema).get("properties"))
    if depth > _DEPTH_MAX:
        return
    for number, (name, found) in enumerate(properties.items()):
        if number >= _PROPERTIES_MAX:
            return
        yield str(name)
        inner = _mapping(found)
        if isinstance(text := inner.get("description"), str):
            yield text
        if isinstance(values := inner.get("enum"), list):
            yield from (str(value) for value in cast("list[object]", values)[:_VALUES_MAX])
        yield from _parts(inner, depth + 1)
        yield from _parts(inner.get("items"), depth + 1)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
