"""The ``files`` MCP server: a store for the artifacts of missions.

Which mission a call belongs to does not come from the model: the caller puts it in ``_meta`` as ``chimera/scope``.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chimera.core.errors import InputError, SettingsInvalid
from chimera.tools.artifacts import DEFAULT_TYPE, ArtifactStore
from chimera.tools.servers.command import parser, run, serve
from chimera.tools.servers.serving import Tool, ToolServer

SCOPE_KEY = "chimera/scope"
MAX_READ = 200_000
"""Bytes of an artifact in one answer; it travels twice, as text and as data."""

_NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
    "description": "file name without folders, such as briefing.md",
}
_STORED: dict[str, Any] = {
    "name": {"type": "string"},
    "media_type": {"type": "string"},
    "size": {"type": "integer", "minimum": 0, "description": "bytes"},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}


def build(root: Path) -> ToolServer:
    """The server over the artifacts under ``root``."""
    store = ArtifactStore(root)

    def write_artifact(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
        media_type = arguments.get("media_type", DEFAULT_TYPE)
        return store.write(_scope(meta), arguments["name"], arguments["content"], media_type).plain()

    def read_artifact(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
        stored, data = store.read(_scope(meta), arguments["name"])
        if b"\0" in data:
            raise InputError(f"{stored.name} is not text")
        content = data[:MAX_READ].decode("utf-8", "ignore")
        return {**stored.plain(), "content": content, "truncated": len(data) > MAX_READ}

    def list_artifacts(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
        return {"artifacts": [stored.plain() for stored in store.list(_scope(meta))]}

    return ToolServer(
        "files",
        "Keeps the files that a mission makes. Each mission sees only its own.",
        [
            Tool(
                name="write_artifact",
                title="Save a file",
                description=(
                    "Write an artifact: save a text document such as a report, briefing, article, summary, table or "
                    "JSON file as a named file of this mission, so that it can be downloaded later. Writing the same "
                    "name again replaces the file. Returns its name, media type, size and SHA-256."
                ),
                input_schema=_closed(
                    {
                        "name": _NAME,
                        "content": {"type": "string", "maxLength": 4_000_000, "description": "the whole text"},
                        "media_type": {
                            "type": "string",
                            "maxLength": 120,
                            "default": DEFAULT_TYPE,
                            "description": "such as text/markdown or application/json",
                        },
                    },
                    ["name", "content"],
                ),
                output_schema=_closed(_STORED),
                run=write_artifact,
                read_only=False,
            ),
            Tool(
                name="read_artifact",
                title="Read a saved file",
                description=(
                    "Read an artifact: open a file that this mission saved before and get its text, media type, size "
                    "and SHA-256."
                ),
                input_schema=_closed({"name": _NAME}),
                output_schema=_closed({**_STORED, "content": {"type": "string"}, "truncated": {"type": "boolean"}}),
                run=read_artifact,
                read_only=True,
            ),
            Tool(
                name="list_artifacts",
                title="List the saved files",
                description=(
                    "List artifacts: show which files this mission has saved before, with the media type, size and "
                    "SHA-256 of each."
                ),
                input_schema=_closed({}),
                output_schema=_closed({"artifacts": {"type": "array", "items": _closed(_STORED)}}),
                run=list_artifacts,
                read_only=True,
            ),
        ],
    )


def _closed(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    needed = [*properties] if required is None else required
    return {"type": "object", "additionalProperties": False, "required": needed, "properties": properties}


def _scope(meta: dict[str, Any]) -> str:
    scope = meta.get(SCOPE_KEY)
    if not isinstance(scope, str):
        raise InputError(
            "the call does not say which mission it is for", remedy=f"Set {SCOPE_KEY} in the call's _meta."
        )
    return scope


def main(argv: Sequence[str] | None = None) -> None:
    """Run the server.

    Raises:
        SettingsInvalid: no root folder is named.
    """
    options = parser("files")
    options.add_argument("--root", type=Path, help="folder of the artifacts; default: CHIMERA_ARTIFACTS")
    given = options.parse_args(argv)
    root = given.root or (Path(named) if (named := os.environ.get("CHIMERA_ARTIFACTS")) else None)
    if root is None:
        raise SettingsInvalid("no folder for artifacts is named", remedy="Set CHIMERA_ARTIFACTS or give --root.")
    serve(build(root.absolute()), given.http)


if __name__ == "__main__":
    run(main)
