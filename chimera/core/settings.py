"""All settings in one place, read once at the edge and passed on; nothing else reads the environment.

Sources, first wins: arguments, ``CHIMERA_*`` environment variables, ``chimera.toml`` in the working folder (or the file
named by ``CHIMERA_CONFIG``), defaults. ``chimera init`` writes a commented ``chimera.toml``.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from chimera.core.errors import SettingsInvalid
from chimera.core.invalid import first_problem

CONFIG_FILE = "chimera.toml"
ROLES = ("orchestrator", "planner", "worker", "judge", "extractor", "cfo")

_Url = Annotated[SecretStr | None, BeforeValidator(lambda value: value or None)]  # "" in a shell means: not set


class Settings(BaseSettings):
    """How this installation runs. Every field is ``CHIMERA_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(env_prefix="CHIMERA_", extra="forbid", frozen=True, env_nested_delimiter="__")

    home: Path = Field(
        default_factory=lambda: user_data_path("chimera", appauthor=False),
        description="folder of the embedded servers and the artifacts",
    )
    database_url: _Url = Field(default=None, description="PostgreSQL to use instead of the embedded one")
    redis_url: _Url = Field(default=None, description="Redis or Valkey to use instead of the embedded one")
    embedded_idle_s: float = Field(default=60.0, ge=0, description="embedded servers stop after this long unused")

    model: str = Field(default="offline", description="offline, or PROVIDER:MODEL of any LangChain chat model")
    models: dict[str, str] = Field(
        default_factory=dict, description="a model per role: orchestrator, planner, worker, judge, extractor"
    )
    model_fallbacks: list[str] = Field(default_factory=list, description="models to try when the first one fails")
    model_base_url: str | None = Field(default=None, description="base URL of an OpenAI-compatible service")
    model_api_key: SecretStr | None = Field(default=None, description="its key; the provider's own variable works too")
    model_timeout_s: PositiveFloat = Field(default=60.0, description="deadline of one model call")
    model_retries: int = Field(default=2, ge=0, le=10, description="repeats of a failed model call")
    model_wait_s: PositiveFloat = Field(default=300.0, description="longest wait for a turn under a provider's limits")
    model_limits: dict[str, tuple[NonNegativeInt, NonNegativeInt]] = Field(
        default_factory=dict,
        description="requests and tokens per minute of the whole fleet, by model name or provider; 0: no limit",
    )
    prices: dict[str, tuple[int, int]] = Field(
        default_factory=dict, description="millionths of a dollar per million tokens, in and out, by model name"
    )

    servers: Path | None = Field(default=None, description="JSON file with mcpServers to connect besides our own")
    tool_timeout_s: PositiveFloat = Field(default=60.0, description="deadline of one tool call")
    tool_start_timeout_s: PositiveFloat = Field(default=30.0, description="deadline for a tool server to start")
    tool_idle_s: PositiveFloat = Field(
        default=600.0, description="a session with a tool server ends when unused so long"
    )
    tool_sessions_max: PositiveInt = Field(default=512, description="sessions with tool servers kept while unused")
    tool_memory_mb: PositiveInt = Field(default=2_048, description="memory of one process of a tool server")
    tool_result_max_bytes: PositiveInt = Field(default=1_000_000, description="largest tool result taken")
    tool_argument_max_bytes: PositiveInt = Field(default=262_144, description="largest tool arguments sent")
    search_model: str | None = Field(
        default=None, description="dense model of tool search: local, or PROVIDER:MODEL of any LangChain embeddings"
    )
    feed_max_bytes: PositiveInt = Field(default=64_000_000, description="largest feed read")
    trend_feed: str | None = Field(default=None, description="feed that TrendFetcher reads when none is given")

    policy: Path | None = Field(default=None, description="security policy instead of the one Chimera ships with")
    extraction: Literal["never", "on_threat", "always"] = Field(
        default="on_threat", description="when a model is shown typed values of what others wrote instead of its text"
    )

    server_hosts: list[str] = Field(
        default_factory=list, description="names, with port if one is seen, by which others reach `chimera serve`"
    )
    server_origins: list[str] = Field(
        default_factory=list, description="origins of web pages that may call the server, such as https://example.com"
    )
    server_files: Path | None = Field(
        default=None, description="folder of which callers over the network may name files; none: they name no file"
    )
    server_calls_per_minute: PositiveInt = Field(default=600, description="requests of one principal to the server")
    server_session_idle_s: PositiveInt = Field(default=7_200, description="seconds without a request that end a login")
    server_session_s: PositiveInt = Field(default=43_200, description="seconds that a login lasts at most")
    oidc_issuer: str | None = Field(default=None, description="provider of OpenID Connect that people may log in by")
    oidc_client_id: str = Field(default="", description="what this installation is called there")
    oidc_client_secret: SecretStr | None = Field(default=None, description="its secret there; none: a public client")
    oidc_claim: str = Field(default="email", description="claim of the provider that is the name of the principal here")
    oidc_tenant: str = Field(default="default", description="tenant whose people log in by the provider")
    oidc_title: str = Field(default="single sign-on", description="what the login page calls the provider")
    server_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/@?#\s]+/?$",
        description="address of the server as browsers see it, such as https://chimera.example.com",
    )
    server_inbox_format: Literal["human_interrupt", "hitl"] = Field(
        default="human_interrupt",
        description="how questions are shown to inboxes that name no format: agent-inbox's, or langchain's",
    )
    server_missions: PositiveInt = Field(default=16, description="missions that one principal may have running here")
    server_body_max_bytes: PositiveInt = Field(default=1_000_000, description="largest request that the server reads")

    payments: str = Field(
        default="",
        description="what pays: 'local' (a chain of our own), or a TOML file (docs/payments.md); '': nothing",
    )
    chain_endpoints: list[SecretStr] = Field(
        default_factory=list,
        description="URLs of JSON-RPC endpoints of the chain to pay on, two of different operators",
    )
    chain_id: PositiveInt | None = Field(default=None, description="id of that chain")
    chain_depth: PositiveInt = Field(default=12, description="blocks that make a payment final, its own among them")
    chain_since: NonNegativeInt = Field(default=0, description="first block in which wallets may have paid")

    audit_key: Path | None = Field(
        default=None, description="PEM file of the Ed25519 key that signs the audit log; default: one in home"
    )
    audit_checkpoint_every: PositiveInt = Field(default=1_000, description="events from one signature to the next")
    incident_pool_limit: PositiveInt = Field(
        default=3, description="security incidents of one pool that are not yet too many"
    )
    incident_window_s: PositiveFloat = Field(default=3_600.0, description="time within which they count")

    agent_runner: Literal["stock", "lean"] = Field(
        default="stock", description="what runs agents: LangGraph itself, or the lean runner, which costs less"
    )
    dispatch: Literal["local", "fleet"] = Field(
        default="local", description="where agents run: in the process of their mission, or on `chimera worker`s"
    )
    engine: Literal["postgres", "nats"] = Field(default="postgres", description="how runs come to the fleet's workers")
    nats_url: _Url = Field(default=None, description="NATS server or cluster of the engine nats")
    hedge_after_s: PositiveFloat | None = Field(
        default=None, description="fleet: when a second worker tries a task that only reads; none: never"
    )
    max_attempts: PositiveInt = Field(default=2, description="tries of one task before it is planned anew")
    max_replans: int = Field(default=1, ge=0, description="new plans of one team before it escalates")
    max_steps: PositiveInt = Field(default=12, description="model turns of one agent")
    max_parallel: PositiveInt = Field(default=64, description="agents of one mission at the same time")
    max_tokens: PositiveInt = Field(default=2_000_000, description="tokens of one mission, unless it says less")
    auto_approve: float = Field(default=0.90, ge=0, le=1, description="confidence that needs no human")
    auto_review: float = Field(default=0.70, ge=0, le=1, description="confidence that is reviewed afterwards")
    require_approval: float = Field(default=0.50, ge=0, le=1, description="confidence that needs a human first")
    judge_samples: int = Field(default=1, ge=1, le=9, description="opinions of the judge's model; the strictest counts")
    review_alpha: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict, description="by review point, the error rate that a certified band promises; else 0.10"
    )
    review_audit_share: float = Field(
        default=0.05, ge=0, le=1, description="share of what passes unseen that a human is asked about, blind"
    )
    review_topics: list[str] = Field(
        default_factory=lambda: ["politics", "health", "finance", "law"],
        description="topics that always go to a human",
    )

    review_due_s: PositiveFloat = Field(default=14_400.0, description="seconds until a question is handed up the chain")
    review_chains: dict[str, list[str]] = Field(
        default_factory=dict, description="roles that are asked one after the other, by point; '': every other point"
    )
    review_quorum: dict[str, PositiveInt] = Field(
        default_factory=dict, description="how many different people have to agree, by point; default: one"
    )
    review_quorum_above: dict[str, NonNegativeInt] = Field(
        default_factory=dict, description="units of money above which two people have to agree, by point"
    )
    review_claim_s: PositiveFloat = Field(default=300.0, description="how long a reviewer's claim on a question lasts")
    review_grace_s: float = Field(
        default=8.0, ge=0, le=3_600, description="how long a decision can be taken back; in the terminal: as it says"
    )
    review_bulk_units: NonNegativeInt = Field(
        default=10_000_000, description="most money that an item of a bulk decision is about, in units"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before environment before file."""
        named = os.environ.get("CHIMERA_CONFIG")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(named or CONFIG_FILE))

    def model_for(self, role: str) -> str:
        """The name of the model that plays ``role``."""
        return self.models.get(role, self.model)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        SettingsInvalid: a value is not allowed, a role is unknown, or the named file is not there.
    """
    named = os.environ.get("CHIMERA_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsInvalid(f"CHIMERA_CONFIG names {named}, which is not a file")
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise SettingsInvalid(first_problem(error, "settings")) from None  # a cause would show the value
    except ValueError as error:
        raise SettingsInvalid(f"{CONFIG_FILE} or a CHIMERA_ variable cannot be read: {type(error).__name__}") from None
    unknown = set(settings.models) - set(ROLES)
    if unknown:
        raise SettingsInvalid(f"models: unknown role {sorted(unknown)[0]}; roles are {', '.join(ROLES)}")
    return settings
