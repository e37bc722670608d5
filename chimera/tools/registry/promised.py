"""What the registry says beforehand of the servers in a mesh: their origin, their tools, costs and risks."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from chimera.core.money import Money
from chimera.store.servers import ServerStore
from chimera.tools.capability import Capability
from chimera.tools.mesh.servers import ServerSpec
from chimera.tools.registry.registry import Registered
from chimera.tools.registry.screening import identified
from chimera.tools.toolbox import Source


async def promised(
    specs: Sequence[ServerSpec], registered: Sequence[Registered], store: ServerStore
) -> Mapping[str, Source]:
    """The sources of all servers of a mesh, by name."""
    known = {server.name: server for server in registered}
    offers: dict[str, list[Mapping[str, Any]]] = {}
    for row in await store.offered() if known else []:
        offers.setdefault(row["server"], []).append(row)
    return {
        spec.name: _registered(known[spec.name], offers.get(spec.name, []))
        if spec.name in known
        else Source(spec.name, "@".join(identified(spec)))
        for spec in specs
    }


def _registered(server: Registered, rows: Sequence[Mapping[str, Any]]) -> Source:
    entry = server.entries[server.current]
    each = entry.cost
    costs = {row["name"]: Money(units=row["cost_units"], asset=row["cost_asset"]) for row in rows if row["cost_asset"]}
    return Source(
        name=server.name,
        source=f"{server.identity}@{server.current}",
        description=entry.description,
        offers=tuple(found for row in rows if (found := _offer(server.name, row, entry.description)) is not None),
        risk=entry.risk,
        risks={row["name"]: row["risk"] for row in rows},
        costs=costs or ({} if each is None else {row["name"]: each for row in rows}),
        registered=True,
    )


def _offer(server: str, row: Mapping[str, Any], description: str) -> Capability | None:
    definition: Mapping[str, Any] = row["definition"]
    try:
        return Capability(
            name=f"{server}__{row['name']}",
            server=server,
            tool=row["name"],
            description=definition.get("description") or description,
            input_schema=definition.get("input_schema") or {},
            read_only=row["read_only"],
            idempotent=row["idempotent"],
            destructive=row["destructive"],
        )
    except ValidationError:  # a name that no tool can have here
        return None
