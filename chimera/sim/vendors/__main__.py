"""``python -m chimera.sim.vendors CONTRACT [--http PORT]``: serve the simulator of a vendor's tool server.

CONTRACT is the name of one of the catalogue (``twitter``), or a JSON file of that form. It speaks stdio, or with
``--http`` streamable HTTP on 127.0.0.1.
"""

import json
from pathlib import Path
from typing import Any

from chimera.core.errors import InputError
from chimera.sim.vendors.simulator import Simulator
from chimera.tools.catalogue.loading import contract
from chimera.tools.servers.command import parser, run, serve

_REMEDY = "Give a name that `chimera tools catalogue --status simulated` shows, or a file of that form."


def main(argv: list[str] | None = None) -> None:
    """Serve until the client leaves.

    Raises:
        InputError: there is no such contract, or the file is none.
    """
    options = parser("simulator")
    options.prog = "python -m chimera.sim.vendors"
    options.add_argument("contract", metavar="CONTRACT", help="name of a contract of the catalogue, or a JSON file")
    given = options.parse_args(argv)
    serve(Simulator(_read(given.contract)), given.http)


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    if path.suffix != ".json":
        return contract(name)
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path} is no contract", remedy=_REMEDY) from None
    if not isinstance(found.get("tools"), list):
        raise InputError(f"{path} names no tools", remedy=_REMEDY)
    return found


if __name__ == "__main__":
    run(main)
