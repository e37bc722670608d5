"""The one error tree: every failure a user can meet has a stable code and a remedy.

    ChimeraError                          CH000
    ├── InputError                        CH100  what the caller gave cannot be used
    │   ├── GoalInvalid                   CH101
    │   ├── FeedUnreadable                CH102
    │   ├── MissionNotFound               CH103
    │   ├── ArtifactNotFound              CH104
    │   └── CheckpointNotFound            CH105
    ├── ConfigError                       CH200  the settings cannot work
    │   ├── SettingsInvalid               CH201
    │   ├── ExtraMissing                  CH202
    │   ├── SpecError                     CH203
    │   └── PolicyInvalid                 CH204
    ├── StoreError                        CH300  Postgres, Redis or the disk
    │   ├── StoreUnavailable              CH301
    │   ├── SchemaOutdated                CH302
    │   ├── SchemaNewer                   CH303
    │   ├── StoreFull                     CH304
    │   └── AuditBroken                   CH305
    ├── ModelError                        CH400  a chat model
    │   ├── ModelUnknown                  CH401
    │   ├── ModelFailed                   CH402
    │   ├── ModelTimeout                  CH403
    │   └── ModelAnswerInvalid            CH404
    ├── GuardRejected                     CH500  a guard said no
    │   └── UnguardedEdge                 CH501
    ├── ToolFailed                        CH600  a tool call did not give a usable result
    │   ├── ToolUnknown                   CH601
    │   ├── ToolServerDown                CH602
    │   ├── ToolTimeout                   CH603
    │   ├── ToolResultTooLarge            CH604
    │   ├── ToolRefused                   CH605
    │   └── ToolBusy                      CH606  its quota is used up
    ├── MissionError                      CH700  a mission cannot go on
    │   ├── BudgetExceeded                CH701
    │   ├── ConflictError                 CH702
    │   │   ├── StaleDecision             CH710  it was made on an older version of the question
    │   │   ├── Claimed                   CH711  somebody else works on it
    │   │   └── ActedUpon                 CH712  too late to take it back
    │   ├── MissionBusy                   CH703
    │   ├── PlanInvalid                   CH704
    │   ├── MissionExpired                CH705
    │   └── RunPoisonous                  CH706  workers died of it
    ├── PaymentRefused                    CH800  money stays where it is
    │   ├── OverBudget                    CH801
    │   ├── BudgetMissing                 CH802
    │   ├── IntentConflict                CH803  the key, or what was approved, stands for something else
    │   ├── IntentState                   CH804
    │   ├── IntentExpired                 CH805
    │   ├── IntentNotFound                CH806
    │   ├── TooMuch                       CH807  more than was held, captured or left to refund
    │   ├── LedgerBroken                  CH808  the books do not agree with themselves or with the chain
    │   ├── ChainMissing                  CH809
    │   ├── SignerRefused                 CH810
    │   ├── SignerDown                    CH811
    │   ├── ChainDown                     CH812
    │   ├── ChainDisagrees                CH813  endpoints of a chain say different things, or one says what cannot be
    │   ├── WalletQuarantined             CH814  somebody else used its key, or nobody knows
    │   ├── PayeeUnknown                  CH815
    │   ├── ListStale                     CH816  of sanctioned addresses
    │   ├── ApprovalMissing               CH817
    │   ├── CfoUnavailable                CH818
    │   ├── VaultRefused                  CH820
    │   ├── OfferRefused                  CH821  of a seller that asks for payment over HTTP
    │   ├── PriceChanged                  CH822
    │   ├── OutcomeUnknown                CH823  it is not known yet whether it was paid
    │   └── NotDelivered                  CH824  it was paid, and nothing came
    └── RemoteAgentError                  CH900  a peer failed or misbehaved
        ├── CallerUnknown                 CH901  a call without a key that counts
        ├── CallerBusy                    CH902  a caller asks for too much at once
        ├── LoginRefused                  CH903  a wrong name or password
        ├── LoginBusy                     CH904  too many tries to log in
        ├── InvitationOver                CH905  an invitation that does not count
        ├── FormRefused                   CH906  a form that is not of this session
        ├── SignOnFailed                  CH907  a provider of OpenID Connect
        └── NotThere                      CH908  a path or an id that whoever asks does not know

Codes never change their meaning. A message is one line, holds no secret and no prompt text; ``context`` holds
the ids that a log line needs. ``chimera errors`` prints this catalogue.
"""

from typing import Any, ClassVar


class ChimeraError(Exception):
    """Something went wrong that Chimera knows how to name."""

    code: ClassVar[str] = "CH000"
    remedy: ClassVar[str] = "Run `chimera doctor`; if that finds nothing, report it with the code and the trail."
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, remedy: str | None = None, **context: Any) -> None:
        self.message = " ".join((message or (self.__doc__ or "").splitlines()[0]).split())
        self.hint = remedy or self.remedy
        self.context = context
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.code} {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.context))

    def as_dict(self) -> dict[str, Any]:
        """The error as plain data for ``--json`` and the API."""
        return {**self.context, "code": self.code, "message": self.message, "remedy": self.hint}


def _rebuild(kind: type[ChimeraError], message: str, remedy: str, context: dict[str, Any]) -> ChimeraError:
    return kind(message, remedy=remedy, **context)


class InputError(ChimeraError):
    """What was given cannot be used."""

    code = "CH100"
    remedy = "Check the argument named in the message."
    exit_code = 2


class GoalInvalid(InputError):
    """The goal is empty, too long or not text."""

    code = "CH101"
    remedy = "Give a goal of 1 to 8,000 characters; put long material into an input file or a feed."


class FeedUnreadable(InputError):
    """The feed could not be read, or holds no usable row."""

    code = "CH102"
    remedy = "Give a readable file or http(s) URL of RSS, Atom, JSON, JSONL or CSV with a timestamp in each row."


class MissionNotFound(InputError):
    """No mission has that id."""

    code = "CH103"
    remedy = "`chimera ls` lists the missions; a unique prefix of the id is enough."


class ArtifactNotFound(InputError):
    """The mission has no artifact of that name."""

    code = "CH104"
    remedy = "`chimera show MISSION` lists the artifacts."


class CheckpointNotFound(InputError):
    """The mission has no such checkpoint."""

    code = "CH105"
    remedy = "`chimera history MISSION` lists the checkpoints."


class ConfigError(ChimeraError):
    """The settings cannot work."""

    code = "CH200"
    remedy = "`chimera doctor` shows which settings are used and where they come from."
    exit_code = 2


class SettingsInvalid(ConfigError):
    """A setting has a value that is not allowed."""

    code = "CH201"
    remedy = "Correct the setting named in the message; `chimera init` writes a commented settings file."


class ExtraMissing(ConfigError):
    """An optional part is not installed."""

    code = "CH202"
    remedy = "Install the extra named in the message."


class SpecError(ConfigError):
    """A specification file is malformed, or code and specification disagree."""

    code = "CH203"
    remedy = "Correct the clause or the code named in the message."


class PolicyInvalid(ConfigError):
    """A security policy cannot be used."""

    code = "CH204"
    remedy = "Correct the file; until then the policy before it holds. `chimera policy check FILE` tries one."


class StoreError(ChimeraError):
    """The system of record failed."""

    code = "CH300"
    remedy = (
        "`chimera doctor` shows the state of Postgres and Redis; `chimera resume` goes on where the mission stopped."
    )
    exit_code = 4
    retryable = True


class StoreUnavailable(StoreError):
    """Postgres or Redis cannot be reached."""

    code = "CH301"
    remedy = "Check CHIMERA_DATABASE_URL and CHIMERA_REDIS_URL, or unset them to use the embedded servers."


class SchemaOutdated(StoreError):
    """The database has an older schema than this version needs."""

    code = "CH302"
    remedy = "Run `chimera migrate`; take a backup first."
    retryable = False


class SchemaNewer(StoreError):
    """The database was written by a newer version."""

    code = "CH303"
    remedy = "Upgrade chimera-swarm, or name another database."
    retryable = False


class StoreFull(StoreError):
    """The disk is full."""

    code = "CH304"
    remedy = "Free disk space, then `chimera resume MISSION`; nothing that was committed is lost."


class AuditBroken(StoreError):
    """The audit chain does not verify."""

    code = "CH305"
    remedy = "Keep the database as it is, and compare with the last exported checkpoint of the chain."
    retryable = False


class LeaseLost(StoreError):
    """Another worker has taken over what this one was doing; nothing of it was written."""

    code = "CH306"
    remedy = "Nothing is to be done: the other worker goes on from the last checkpoint."
    retryable = False


class ModelError(ChimeraError):
    """A chat model could not be used."""

    code = "CH400"
    remedy = "`chimera doctor` tests the configured model; unset CHIMERA_MODEL to use the offline rules."
    exit_code = 5


class ModelUnknown(ModelError):
    """No chat model has that name."""

    code = "CH401"
    remedy = (
        "Use offline, or PROVIDER:MODEL such as openai:gpt-5 or anthropic:claude-sonnet-5, with its package installed."
    )
    exit_code = 2


class ModelFailed(ModelError):
    """The model's service answered with an error, or not at all."""

    code = "CH402"
    remedy = "Check the service, its key and its base URL; `chimera resume` goes on from the last checkpoint."
    retryable = True


class ModelTimeout(ModelFailed):
    """The model did not answer before the deadline."""

    code = "CH403"
    remedy = "Raise CHIMERA_MODEL_TIMEOUT_S or use a faster model; `chimera resume` goes on from the last checkpoint."


class ModelAnswerInvalid(ModelError):
    """The model's answer does not have the form it was asked for."""

    code = "CH404"
    remedy = "Use a model that supports structured output and tool calls."
    retryable = True


class GuardRejected(ChimeraError):
    """A guard refused the request."""

    code = "CH500"
    remedy = "`chimera show MISSION` names the rule; change the request or have the policy reviewed."
    exit_code = 6


class UnguardedEdge(GuardRejected):
    """A graph reaches a tool or a payment without a guard."""

    code = "CH501"
    remedy = "Wire the hop with chimera.guards.edges."


class ToolFailed(ChimeraError):
    """A tool call gave no usable result."""

    code = "CH600"
    remedy = "`chimera show MISSION` has the call; the task is retried by itself where that is safe."
    exit_code = 7


class ToolUnknown(ToolFailed):
    """No connected server offers that tool."""

    code = "CH601"
    remedy = "`chimera tools ls` lists the tools."


class ToolServerDown(ToolFailed):
    """The tool's server cannot be started or reached."""

    code = "CH602"
    remedy = "`chimera doctor` tests each server; check its command or URL."
    retryable = True


class ToolTimeout(ToolFailed):
    """The tool did not answer before the deadline."""

    code = "CH603"
    remedy = "Raise CHIMERA_TOOL_TIMEOUT_S, or ask for less in one call."
    retryable = True


class ToolResultTooLarge(ToolFailed):
    """The tool's result is larger than allowed."""

    code = "CH604"
    remedy = "Ask the tool for less, or raise CHIMERA_TOOL_RESULT_MAX_BYTES."


class ToolRefused(ToolFailed):
    """The tool answered that it could not do this."""

    code = "CH605"
    remedy = "Read the tool's reason; usually an argument is wrong."


class ToolBusy(ToolFailed):
    """The quota of the tool's server is used up for longer than the call may wait."""

    code = "CH606"
    remedy = "Try later, or raise the server's quota where it is configured."
    retryable = True


class CallWaits(ToolFailed):
    """A human has to agree before the tool is called."""

    code = "CH607"
    remedy = "`chimera review ls` has the question; when it is answered, `chimera resume CALL` goes on."


class MissionError(ChimeraError):
    """A mission cannot go on."""

    code = "CH700"
    remedy = "`chimera show MISSION` has the reasons."


class BudgetExceeded(MissionError):
    """The mission's budget is used up."""

    code = "CH701"
    remedy = "Raise the budget with `--budget` or `--max-tokens`, or ask for less."


class ConflictError(MissionError):
    """The thing was changed by somebody else in the meantime."""

    code = "CH702"
    remedy = "Look at it again and repeat the change if it still applies."


class StaleDecision(ConflictError):
    """The question was changed since the reviewer saw it; nothing was decided."""

    code = "CH710"
    remedy = "Look at it again (`chimera review show ITEM`), and decide on what it says now."


class Claimed(ConflictError):
    """Somebody else works on the question; nothing was changed."""

    code = "CH711"
    remedy = "Wait until they have decided or let go of it; a claim ends by itself after some minutes."


class ActedUpon(ConflictError):
    """The decision can no longer be taken back: somebody has acted upon it."""

    code = "CH712"
    remedy = "Nothing was undone. What it began can be stopped: `chimera cancel MISSION`."


class MissionBusy(MissionError):
    """Another process is running this mission."""

    code = "CH703"
    remedy = "Wait for it, or `chimera cancel MISSION` first."


class PlanInvalid(MissionError):
    """The plan is not a task graph that can be executed."""

    code = "CH704"
    remedy = "Rephrase the goal, or use a stronger planner model."


class MissionExpired(MissionError):
    """The mission did not finish before its deadline."""

    code = "CH705"
    remedy = "Raise `--deadline`, then `chimera resume MISSION`."


class RunPoisonous(MissionError):
    """The run took its workers down, time after time, also when it was alone on one."""

    code = "CH706"
    remedy = "`chimera runs ls --state dead` shows it; `chimera runs replay` lets it run once more."


class PaymentRefused(ChimeraError):
    """The payment was refused; no money moved."""

    code = "CH800"
    remedy = "`chimera show MISSION` names the reason."
    exit_code = 6


class OverBudget(PaymentRefused):
    """The payment does not fit into a budget."""

    code = "CH801"
    remedy = "`chimera ledger budgets` shows what is left; a human can raise one with `chimera ledger budgets set`."


class BudgetMissing(PaymentRefused):
    """No budget covers the payment, or one that was named does not count it."""

    code = "CH802"
    remedy = "`chimera ledger budgets set` makes a budget; money that no budget counts is not spent."


class IntentConflict(PaymentRefused):
    """The key stands for another payment, or the payment is not the one that was approved."""

    code = "CH803"
    remedy = "Use a new idempotency key for a new payment; the same key always means the same payment."


class IntentState(PaymentRefused):
    """The payment is not in a state in which this can be done."""

    code = "CH804"
    remedy = "Look at what became of it; somebody else may have been faster."


class IntentExpired(PaymentRefused):
    """The payment was not made in time."""

    code = "CH805"
    remedy = "Propose it anew."


class IntentNotFound(PaymentRefused):
    """There is no such payment."""

    code = "CH806"
    remedy = "`chimera ledger statement` lists payments."


class TooMuch(PaymentRefused):
    """It is more than was reserved, captured or is left to refund."""

    code = "CH807"
    remedy = "At most what was reserved is captured, and at most what was captured comes back."


class LedgerBroken(PaymentRefused):
    """The books do not agree with themselves, their seals, or the chain."""

    code = "CH808"
    remedy = "Keep the database as it is, stop payments (`chimera ledger budgets set --freeze`), and look at each line."


class ChainMissing(PaymentRefused):
    """No chain is configured that the books could be compared with."""

    code = "CH809"
    remedy = "Configure a wallet and its chain; `chimera ledger verify` checks the books by themselves."


class SignerRefused(PaymentRefused):
    """The signer does not sign this."""

    code = "CH810"
    remedy = "Propose the payment anew, and have it approved; what was refused is on the audit record."


class SignerDown(PaymentRefused):
    """The signer cannot be reached."""

    code = "CH811"
    remedy = "Start it (`python -m chimera.commerce.wallet --help`); payments that are reserved go on then."
    retryable = True


class ChainDown(PaymentRefused):
    """An endpoint of the chain does not answer."""

    code = "CH812"
    remedy = "Check the addresses of both endpoints; payments that are under way go on when they answer."
    retryable = True


class ChainDisagrees(PaymentRefused):
    """What endpoints say of the chain does not agree, or cannot be."""

    code = "CH813"
    remedy = "Nothing is counted as paid meanwhile. Compare both endpoints with one that you trust."


class WalletQuarantined(PaymentRefused):
    """The wallet does not pay until a human has looked at it."""

    code = "CH814"
    remedy = (
        "Find out who else has its key, and move what it holds; `chimera ledger wallets release` lets it pay again."
    )


class PayeeUnknown(PaymentRefused):
    """Nobody of that name or address can be paid."""

    code = "CH815"
    remedy = "`chimera ledger payees` lists who can be paid; a human can add somebody, and no name is guessed."


class ListStale(PaymentRefused):
    """The lists of sanctioned addresses are missing, damaged, or too old to decide by."""

    code = "CH816"
    remedy = "Fetch the lists anew, and say in the file DATED of their folder (YYYY-MM-DD) when they were made."


class ApprovalMissing(PaymentRefused):
    """The payment lacks an agreement, or what was agreed to is not this payment."""

    code = "CH817"
    remedy = "`chimera review ls` has the question; as many different people as it asks for have to agree in time."


class CfoUnavailable(PaymentRefused):
    """The CFO's verdict or signature cannot be had, so nothing is paid."""

    code = "CH818"
    remedy = "Check the model of the role cfo, and the process that holds the CFO's key; then propose the payment anew."


class VaultRefused(PaymentRefused):
    """The vault does not pay this."""

    code = "CH820"
    remedy = "The message names the rule; the vault's owner can change it, after the vault's delay."


class OfferRefused(PaymentRefused):
    """What a seller asks for is not allowed, or cannot be read."""

    code = "CH821"
    remedy = "Allow the seller's address, asset and price in the list of shops, if they are meant."


class PriceChanged(PaymentRefused):
    """The seller asks for something else than what was approved."""

    code = "CH822"
    remedy = "Buy it anew, with a new key; what was approved is not paid."


class OutcomeUnknown(PaymentRefused):
    """It is not known yet whether the payment was made; what is reserved for it stays reserved."""

    code = "CH823"
    remedy = "Ask again with the same key: the same authorisation is sent, never a second one."
    retryable = True


class NotDelivered(PaymentRefused):
    """The payment was made, and nothing was delivered for it."""

    code = "CH824"
    remedy = "It is in the queue of disputes: ask again with the same key, or ask the seller for a refund."


class RemoteAgentError(ChimeraError):
    """A foreign agent failed or broke the protocol."""

    code = "CH900"
    remedy = "Check the peer's card and status."


class CallerUnknown(RemoteAgentError):
    """The call has no key, or one that was never issued, was revoked or has ended."""

    code = "CH901"
    remedy = "Send `Authorization: Bearer KEY`; `chimera principal key NAME` issues one."


class CallerBusy(RemoteAgentError):
    """The caller asks for more at once than it may."""

    code = "CH902"
    remedy = "Wait, and call again; the settings server_calls_per_minute and server_missions say how much may be."
    retryable = True


class LoginRefused(RemoteAgentError):
    """Nobody has that name and that password."""

    code = "CH903"
    remedy = "Type both again. Whoever forgot the password asks for an invitation: `chimera principal invite NAME`."


class LoginBusy(RemoteAgentError):
    """Too many tries to log in, of a name or from an address."""

    code = "CH904"
    remedy = "Wait as long as it says; a new invitation opens the door at once."
    retryable = True


class InvitationOver(RemoteAgentError):
    """The invitation was used, has ended, or is none."""

    code = "CH905"
    remedy = "Ask for a new one: `chimera principal invite NAME`."


class FormRefused(RemoteAgentError):
    """A request that changes something does not come from a page of this session."""

    code = "CH906"
    remedy = "Load the page again, and repeat what you did."


class SignOnFailed(RemoteAgentError):
    """The provider of OpenID Connect cannot be used, or says what cannot be believed."""

    code = "CH907"
    remedy = "Try once more. If it stays, compare the oidc_ settings with what the provider has registered."
    retryable = True


class NotThere(RemoteAgentError):
    """There is nothing at that path, or of that id, for whoever asks."""

    code = "CH908"
    remedy = "List what there is; what belongs to another tenant is unknown here."


def catalogue() -> list[type[ChimeraError]]:
    """Every error class of the tree, in the order of its code."""

    def below(kind: type[ChimeraError]) -> list[type[ChimeraError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    return sorted(below(ChimeraError), key=lambda kind: kind.code)
