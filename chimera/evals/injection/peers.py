"""The other detectors: which ones, at which versions, under which licence, and what of them is measured."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import TypeAdapter

from chimera.core.errors import InputError

EVERY = "all"


@dataclass(frozen=True)
class Peer:
    """A detector to compare with; ``peers.toml`` says what each field holds."""

    name: str
    licence: str
    measured: str
    reason: str
    packages: tuple[str, ...] = ()
    adapter: str = ""
    files: str = ""
    yes_no: bool = False
    union_of: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The version of the detector itself: its packages are pinned, and it is the first of them."""
        return self.packages[0].partition("==")[2] if self.packages else ""


@cache
def known_peers() -> tuple[Peer, ...]:
    """Every peer of ``peers.toml``, in its order."""
    read = tomllib.loads((files(__package__ or __name__) / "peers.toml").read_text("utf-8"))
    return TypeAdapter(tuple[Peer, ...]).validate_python(read["peer"])


def chosen_peers(names: str) -> Sequence[Peer]:
    """The peers with these names, separated by commas; ``all`` is every one.

    Raises:
        InputError: there is no peer of such a name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    by_name = {peer.name: peer for peer in known_peers()}
    if unknown := [name for name in wanted if name != EVERY and name not in by_name]:
        raise InputError(
            f"there is no detector {unknown[0][:60]} to compare with",
            remedy=f"Name some of {', '.join(by_name)} with --peers, separated by commas, or {EVERY}.",
        )
    return [peer for peer in known_peers() if EVERY in wanted or peer.name in wanted]
