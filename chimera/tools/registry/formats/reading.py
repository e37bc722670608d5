"""Reads a file of tool servers, whichever of the known forms it has; what cannot be taken is told entry by entry."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chimera.core.errors import InputError
from chimera.core.invalid import first_problem
from chimera.tools.registry.formats import docker, mcp_servers, server_json, toolsdk
from chimera.tools.registry.formats.naming import as_object, as_objects
from chimera.tools.registry.model import ServerEntry

FILE_MAX_BYTES = 20_000_000
_FORMS = "server.json of the MCP registry, mcpServers, Docker's catalogue as JSON, toolsdk's, or this registry's own"
Made = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Refused:
    """An entry that cannot be taken: what it is called, why, and what to do."""

    entry: str
    why: str
    remedy: str

    def plain(self) -> dict[str, str]:
        """It as JSON data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Read:
    """What a file holds."""

    form: str
    entries: list[ServerEntry] = field(default_factory=list[ServerEntry])
    refused: list[Refused] = field(default_factory=list[Refused])


def read_file(path: Path, *, version: str = "", name: str = "") -> Read:
    """The servers of a file. ``version``: for catalogues that name none; ``name``: what a single one is called here.

    Raises:
        InputError: it cannot be read, is no JSON, is none of the known forms, or not one entry of it can be taken.
    """
    documents = _documents(path)
    form, found = _recognised(path, documents, version)
    source = f"{path.name} ({form})"
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
    read = Read(form)
    for label, made in found:
        try:
            fields = made()
            fields |= {"name": name} if name else {}
            read.entries.append(ServerEntry.model_validate({"origin": {"source": source, "date": changed}, **fields}))
        except ValidationError as error:
            read.refused.append(_refused(label, first_problem(error)))
        except (ValueError, TypeError, KeyError) as error:
            read.refused.append(_refused(label, str(error)))
    if name and len(read.entries) > 1:
        raise InputError(f"{path}: a name was given for {len(read.entries)} servers", remedy="Leave --as out.")
    if not read.entries:
        first = read.refused[0] if read.refused else Refused("(none)", "it holds no server", f"Give {_FORMS}.")
        raise InputError(f"{path}: {first.entry}: {first.why}", remedy=first.remedy)
    return read


def _documents(path: Path) -> Any:
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise InputError(f"{path} is larger than {FILE_MAX_BYTES:,} bytes", remedy="Split it.")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", remedy="Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text", remedy=f"Give {_FORMS}.") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} is neither JSON nor JSON Lines", remedy=f"Give {_FORMS}; convert YAML to JSON first."
        ) from None


def _recognised(path: Path, given: object, version: str) -> tuple[str, Iterator[tuple[str, Made]]]:
    """The form of a document, and its entries, each made when it is asked for."""
    whole = as_object(given)
    listed = whole.get("mcpServers", whole.get("servers"))
    if named := as_object(listed):
        return "mcpServers", (
            (key, lambda key=key, raw=raw: mcp_servers.fields(key, as_object(raw))) for key, raw in named.items()
        )
    if named := as_object(whole.get("registry")):
        return "Docker catalogue", (
            (key, lambda key=key, raw=raw: docker.fields(key, as_object(raw))) for key, raw in named.items()
        )
    items = as_objects(listed) or as_objects(given) or [whole]
    first = items[0]
    if "packageName" in first:
        return "toolsdk", ((_label(raw), lambda raw=raw: toolsdk.fields(raw, version)) for raw in items)
    if "transport" in first and "origin" in first:
        return "Chimera", ((_label(raw), lambda raw=raw: dict(raw)) for raw in items)
    if "image" in first or "remote" in first:
        return "Docker catalogue", ((_label(raw), lambda raw=raw: docker.fields(_label(raw), raw)) for raw in items)
    if any(key in (as_object(first.get("server")) or first) for key in ("packages", "remotes", "$schema")):
        return "server.json", ((_label(raw), lambda raw=raw: server_json.fields(raw)) for raw in items)
    raise InputError(f"{path} is none of the known forms", remedy=f"Give {_FORMS}.")


def _label(raw: dict[str, Any]) -> str:
    inner = as_object(raw.get("server")) or raw
    return str(inner.get("packageName") or inner.get("name") or "(no name)")[:120]


def _refused(entry: str, why: str) -> Refused:
    text = " ".join(why.removeprefix("Value error, ").replace("Value error, ", "").split())[:300]
    if "secret" in text or "password" in text:
        remedy = "Set a variable in the environment of Chimera, and write ${NAME} in its place."
    elif "exact version" in text or "version" in text.partition(":")[0]:
        remedy = "Give an exact version, such as name@1.2.3 or name==1.2.3."
    else:
        remedy = "Correct this entry, or leave it out."
    return Refused(entry, text, remedy)
