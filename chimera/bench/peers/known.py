"""Which frameworks are compared: what ``benchmarks/peers`` of a checkout holds, and what each of them leaves out."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from chimera.core.errors import ConfigError, InputError
from chimera.core.invalid import first_problem

BARE = "langgraph"
"""What every ratio is to."""
OURS = "chimera"
FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "peers"


@dataclass(frozen=True)
class Peer:
    """A framework; ``peers.toml`` says what each field holds."""

    name: str
    title: str
    package: str
    durable: str
    guards: str
    record: str
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is Chimera itself, which runs in this environment and from this checkout."""
        return self.name == OURS

    def missing(self) -> dict[str, str]:
        """What it does about durability, guards and a record while it is measured."""
        return {"durable": self.durable, "guards": self.guards, "record": self.record, "note": self.note}


def known_peers(folder: Path = FOLDER) -> tuple[Peer, ...]:
    """Every framework of ``peers.toml``, in its order.

    Raises:
        ConfigError: the folder is not there, as in an installed package, or the file cannot be used.
    """
    try:
        read = tomllib.loads((folder / "peers.toml").read_text("utf-8"))
        return TypeAdapter(tuple[Peer, ...]).validate_python(read.get("peer", []))
    except FileNotFoundError:
        raise ConfigError(
            "the frameworks to compare with are not here: they come with a checkout, not with the package",
            remedy="Run the command of a checkout, where the folder benchmarks/peers is.",
        ) from None
    except ValidationError as error:
        raise ConfigError(first_problem(error, "peers.toml"), remedy="Correct benchmarks/peers/peers.toml.") from None
    except ValueError as error:
        raise ConfigError(
            f"peers.toml cannot be read: {error}", remedy="Correct benchmarks/peers/peers.toml."
        ) from error


def chosen_peers(names: Sequence[str], folder: Path = FOLDER) -> list[Peer]:
    """The frameworks with these names, in the order of the file; no name means all of them.

    Raises:
        InputError: there is none of such a name. ConfigError: as ``known_peers``.
    """
    known = known_peers(folder)
    if unknown := sorted(set(names) - {peer.name for peer in known}):
        raise InputError(
            f"there is no framework {unknown[0][:40]!r} to compare with",
            remedy=f"Name some of {', '.join(peer.name for peer in known)} with --only.",
        )
    return [peer for peer in known if not names or peer.name in names]
