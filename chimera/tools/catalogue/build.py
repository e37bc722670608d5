"""Makes the catalogue's files from what was reviewed: ``python -m chimera.tools.catalogue.build [--check]``.

Read are, beside this file, ``reviewed.tsv`` (which servers, at which version, described in our words),
``started.jsonl`` (what each listed when it was started) and ``vendors.tsv`` (the routes to the services that missions
ask for by name); and, in the folder that CHIMERA_DATA names, the registries that say more: variables and licences.
Same input, same files. ``--check`` changes nothing, and ends with 1 when a file would differ.
"""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

from chimera.tools.catalogue.model import Listed, Status
from chimera.tools.registry.formats.naming import as_object, as_objects, slug
from chimera.tools.registry.model import CATEGORIES

HERE = Path(__file__).parent
LISTS_DATE = "2026-11-23"
_LISTS = {"npm": "npm's list of packages", "pypi": "PyPI's list of packages"}
_TOOLSDK = {"source": "toolsdk's registry of MCP servers", "date": ""}
_SEED = {"source": "seed list of the official MCP registry", "date": "2025-05-16"}
_HERE = {"source": "started without a network, with dummies for keys", "date": LISTS_DATE}
Key = tuple[str, str]


def build(data: Path) -> dict[str, str]:
    """The text of each file, by its name."""
    known, seeded, started, vendors = _toolsdk(data), _seed(data), _started(), _vendors()
    lines: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    names: set[str] = set()
    for row in _rows("reviewed.tsv"):
        key = (row["registry"], row["package"].lower())
        name = _free(row, names)
        made = _entry(name, row, known.get(key, {}), seeded.get(key), started.get(key), vendors.get(key))
        lines[row["category"]].append(json.dumps(made.plain(), ensure_ascii=False, sort_keys=True))
    return {f"{category}.jsonl": "\n".join(sorted(found)) + "\n" for category, found in lines.items()}


def _entry(
    name: str,
    row: dict[str, str],
    about: dict[str, Any],
    seeded: dict[str, Any] | None,
    started: dict[str, Any] | None,
    vendor: dict[str, str] | None,
) -> Listed:
    tools = as_objects((started or {}).get("tools"))
    contract = vendor["contract"] if vendor and vendor["contract"] else ""
    sources = [{"source": _LISTS[row["registry"]], "date": LISTS_DATE}]
    sources += [_TOOLSDK] if about else []
    sources += [_SEED] if seeded is not None else []
    sources += [_HERE] if started else []
    env = {*as_object(about.get("env")), *(str(item["name"]) for item in as_objects((seeded or {}).get("env")))}
    env |= set(vendor["env"].split()) if vendor else set()
    package = {"registry": row["registry"], "name": row["package"], "version": row["version"]}
    if started and started["version"] != row["version"]:
        raise ValueError(f"{row['package']}: started at {started['version']}, reviewed at {row['version']}")
    package |= {key: (started or {}).get(key, empty) for key, empty in (("program", ""), ("beside", []))}
    licence = str((started or {}).get("licence") or about.get("license") or "")
    fields: dict[str, Any] = {
        "name": name,
        "category": row["category"],
        "description": row["description"],
        "vendor": vendor["vendor"] if vendor else "",
        "package": package,
        "args": [],
        "env": sorted(env),
        "risk": row["risk"],
        "licence": "" if licence.lower() in ("unknown", "noassertion") else licence,
        "status": Status.SIMULATED if contract else Status.STARTED if started else Status.CATALOGUED,
        "tools": [{key: tool[key] for key in ("name", "read_only", "idempotent", "destructive")} for tool in tools],
        "contract": contract,
        "sources": sources,
    }
    return Listed.model_validate(fields)


def _free(row: dict[str, str], taken: set[str]) -> str:
    """A name that nobody has yet: the package's, else with its owner, else with its registry."""
    short = slug(row["package"])
    whole = slug(row["package"].replace("/", "-"))
    wanted = [whole, short] if short in ("mcp", "mcp-server") else [short, whole]
    name = next(found for found in (*wanted, slug(f"{whole[:35]}-{row['registry']}")) if found not in taken)
    taken.add(name)
    return name


def _rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _started() -> dict[Key, dict[str, Any]]:
    lines = (HERE / "started.jsonl").read_text("utf-8").splitlines()
    found = [as_object(json.loads(line)) for line in lines]
    return {(str(item["registry"]), str(item["package"]).lower()): item for item in found}


def _vendors() -> dict[Key, dict[str, str]]:
    return {(row["registry"], row["package"].lower()): row for row in _rows("vendors.tsv")}


def _toolsdk(data: Path) -> dict[Key, dict[str, Any]]:
    """What toolsdk's registry says of packages that are called like servers, not like the libraries that they wrap."""
    runtimes = {"node": "npm", "python": "pypi"}
    found: dict[Key, dict[str, Any]] = {}
    for line in (data / "catalogue" / "toolsdk_servers.jsonl").read_text("utf-8").splitlines():
        item = as_object(json.loads(line))
        name, runtime = str(item.get("packageName", "")).lower(), runtimes.get(str(item.get("runtime")))
        if runtime:
            found.setdefault((runtime, name), item)
    return found


def _seed(data: Path) -> dict[Key, dict[str, Any]]:
    found: dict[Key, dict[str, Any]] = {}
    for item in as_objects(json.loads((data / "catalogue" / "official_seed_2025_05_16.json").read_text("utf-8"))):
        for package in as_objects(item.get("packages")):
            key = (str(package.get("registry_name")), str(package.get("name")).lower())
            found.setdefault(key, {"env": as_objects(package.get("environment_variables"))})
    return found


def main(arguments: list[str]) -> int:
    """Write the files, or compare them."""
    files = build(Path(os.environ["CHIMERA_DATA"]))
    differing = [name for name, text in files.items() if not _holds(HERE / name, text)]
    if "--check" not in arguments:
        for name in differing:
            (HERE / name).write_text(files[name], "utf-8")
    sys.stderr.write(f"{', '.join(differing) or 'nothing'} {'differs' if '--check' in arguments else 'written'}\n")
    return 1 if differing and "--check" in arguments else 0


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
