"""The policy file: what it may say, and what it must."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chimera.core.errors import PolicyInvalid
from chimera.core.ids import digest
from chimera.core.invalid import first_problem
from chimera.guards.provenance.manifest import read_manifests
from chimera.guards.request import Edge

MAX_BYTES = 1_000_000
REQUIRED: Mapping[Edge, frozenset[str]] = MappingProxyType(
    {
        Edge.INTAKE: frozenset({"intake.goal"}),
        Edge.TOOL_CALL: frozenset(
            {
                "incident.quarantine",
                "permission.role",
                "permission.tool",
                "limit.arguments",
                "schema.arguments",
                "output.canary",
                "flow.named-source",
                "flow.provenance",
            }
        ),
        Edge.TOOL_RESULT: frozenset({"limit.result", "schema.result"}),
        Edge.MODEL_INPUT: frozenset({"output.canary"}),
        Edge.AGENT_MESSAGE: frozenset(),
        Edge.PAYMENT: frozenset(),
        Edge.PUBLISH: frozenset(),
        Edge.OUTPUT: frozenset({"limit.output", "output.canary"}),
    }
)
"""The guards that the laws of Chimera stand on: a policy may add to them, and may not leave them out."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Changes(_Part):
    """What a change of the policy needs. ``four_eyes``: nobody approves what he put forward himself."""

    approval: Literal["human", "none"] = "human"
    four_eyes: bool = False


class EdgePolicy(_Part):
    """One edge: its guards in order, and how long each may take, in seconds."""

    deadline_s: float = Field(default=5.0, gt=0, le=60)
    guards: list[str] = Field(min_length=1, max_length=100)


class Policy(_Part):
    """A policy, with the text that it was read from."""

    version: Literal[1]
    title: str = Field(min_length=1, max_length=200)
    changes: Changes = Changes()
    edges: dict[Edge, EdgePolicy]
    guards: dict[str, dict[str, Any]] = Field(
        default_factory=dict[str, dict[str, Any]], description="options of a guard, by its name"
    )
    tools: dict[str, dict[str, Any]] = Field(
        default_factory=dict[str, dict[str, Any]], description="manifests of tools, by their full name"
    )
    text: str = Field(default="", exclude=True)

    @property
    def digest(self) -> str:
        """What the policy is approved by: the hash of its text."""
        return digest(self.text)[:32]


def read_policy(text: str) -> Policy:
    """Read a policy from TOML.

    Raises:
        PolicyInvalid: it cannot be read, says something unknown, or leaves out what every policy must have.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise PolicyInvalid(f"the policy has more than {MAX_BYTES:,} bytes")
    try:
        policy = Policy.model_validate({**tomllib.loads(text), "text": text})
    except tomllib.TOMLDecodeError as error:
        raise PolicyInvalid(f"the policy is not TOML: {error}") from None
    except ValidationError as error:
        raise PolicyInvalid(f"the policy, {first_problem(error, 'file')}") from None
    except RecursionError:
        raise PolicyInvalid("the policy is nested too deeply") from None
    _check_whole(policy)
    read_manifests(text)
    return policy


def shipped_policy() -> Policy:
    """The policy of an installation that has none of its own."""
    return read_policy(files("chimera.guards.policy").joinpath("policy.toml").read_text("utf-8"))


def _check_whole(policy: Policy) -> None:
    for edge, needed in REQUIRED.items():
        named = policy.edges[edge].guards if edge in policy.edges else []
        missing = sorted(needed - set(named))
        if edge not in policy.edges or missing:
            what = "is not there" if edge not in policy.edges else f"leaves out {missing[0]}"
            raise PolicyInvalid(f"the policy, edges.{edge}: {what}, and no policy may")
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise PolicyInvalid(f"the policy, edges.{edge}: {twice[0]} stands there twice")
    used = {name for edge in policy.edges.values() for name in edge.guards}
    unused = sorted(set(policy.guards) - used)
    if unused:
        raise PolicyInvalid(f"the policy, guards.{unused[0]}: options of a guard that stands at no edge")
