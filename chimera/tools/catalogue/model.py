"""One entry of the catalogue: facts about a server, an own description, and an honest status."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from chimera.core.contracts import Contract
from chimera.tools.mesh.servers import NAME
from chimera.tools.registry.model import Offer, Origin, Package, Risk, ServerEntry, Variable


class Status(StrEnum):
    """How far a server was tried, the highest that holds. Nothing is claimed that was not run."""

    CATALOGUED = "catalogued"
    """Listed with its package and version; nobody started it here."""
    STARTED = "started"
    """This version was started without a network and listed its tools."""
    SIMULATED = "simulated"
    """Started, and its tools are called in the tests on a simulator with the same contract."""
    VERIFIED = "verified"
    """Called against the vendor's real service."""


class Hinted(Contract):
    """A tool that a server listed, with what it says that the tool does."""

    name: str
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = True


class Listed(Contract):
    """A server of the catalogue."""

    name: str = Field(pattern=NAME)
    category: Literal["social", "content", "data", "commerce", "general"]
    description: str = Field(min_length=10, max_length=160, description="in our words")
    vendor: str = Field(default="", description="the service that it is the route to, if missions ask for it by name")
    package: Package
    args: list[str] = Field(default_factory=list)
    env: list[str] = Field(default_factory=list, description="names of the variables that it takes, as far as known")
    risk: Risk
    licence: str = Field(default="", description="as the package or a registry says; empty where nobody does")
    status: Status
    tools: list[Hinted] = Field(default_factory=list[Hinted])
    contract: str = Field(default="", description="the file of its tools' schemas, for the simulator")
    sources: list[Origin] = Field(min_length=1)

    def entry(self) -> ServerEntry:
        """The server as the registry takes it. Its tools are what it listed; what it says when it runs counts."""
        return ServerEntry(
            name=self.name,
            version=self.package.version,
            title=self.package.name,
            description=self.description,
            category=self.category,
            transport="stdio",
            package=self.package,
            args=self.args,
            env=[Variable(name=name, required=False) for name in self.env],
            risk=self.risk,
            licence=self.licence,
            offers=[Offer.model_validate(tool.plain()) for tool in self.tools],
            origin=Origin(source=f"catalogue, after {self.sources[0].source}"[:300], date=self.sources[0].date),
        )
