"""Any Guard of guardrails-ai at any edge: its verdict becomes a decision of ours."""

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from chimera.core.contracts import Decision, Threat
from chimera.guards.output.disclosure import PLAIN
from chimera.guards.output.finding import Context, Finding, Scanner
from chimera.guards.output.textguard import TextGuard
from chimera.guards.request import GuardRequest, reject

DEADLINE_S = 4.0
"""Below the deadline that a chain gives a guard by default, so that the reason names this guard."""
AT_ONCE = 8
"""A validation that hangs cannot be ended; when this many do, everything is rejected until they are through."""

_T = TypeVar("_T")


class GuardrailsGuard(TextGuard):
    """A guard of ours that asks a Guard (or AsyncGuard) of guardrails-ai about the texts of a payload.

    A FailResult with a fix value is an edit, any other a rejection; our own validators can say escalate. What the Guard
    put right by itself (``on_fail="fix"``) is an edit too. An exception, a deadline that passes and anything that is no
    verdict is a rejection. Each text is asked about again after an edit.

    ``guard`` is a Guard, or a function that makes one: it is called in a thread, by ``prepare`` or else by the first
    check, which then has to wait for the import of the library. ``fields`` are the names in the payload that are asked
    about, all texts by default; a payload with none of them is rejected.
    """

    def __init__(
        self, guard: Any, rule: str = "guardrails", deadline_s: float = DEADLINE_S, fields: Sequence[str] = ()
    ) -> None:
        self.rule = rule
        self._guard: Any = None if inspect.isroutine(guard) else guard
        self._make = cast("Callable[[], Any]", guard)
        self._deadline_s = deadline_s
        self._fields = tuple(fields)
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._making = threading.Lock()

    async def prepare(self, deadline_s: float = 120.0) -> None:
        """Make the Guard, which imports the library when nothing has yet.

        Raises:
            TimeoutError: it took too long; it goes on in its thread.
        """
        async with asyncio.timeout(deadline_s):
            await _in_thread(self._made)

    async def check(self, request: GuardRequest) -> Decision | None:
        """Ask the Guard about every text, one after another, within the deadline."""
        asked = {name: request.payload[name] for name in self._fields if name in request.payload}
        if self._fields and not asked:
            return reject(self.rule, "nothing in it can be validated", Threat.MEDIUM)
        payload = asked if self._fields else dict(request.payload)
        if not self._slots.acquire(blocking=False):
            return reject(self.rule, "earlier validations have not ended", Threat.MEDIUM)
        context, media_type = Context.of(request), str(request.payload.get("media_type", PLAIN))

        def work() -> Decision | None:
            try:
                return self._judged(payload, context, media_type)
            finally:
                self._slots.release()

        try:
            async with asyncio.timeout(self._deadline_s):
                said = await _in_thread(work)
        except TimeoutError:
            return reject(self.rule, f"no verdict within {self._deadline_s:g} s", Threat.MEDIUM)
        except Exception as error:  # noqa: BLE001 - fail closed: a validator may raise whatever it likes
            return reject(self.rule, f"the validation failed: {type(error).__name__}", Threat.MEDIUM)
        if said is None or said.payload is None:
            return said
        return said.model_copy(update={"payload": {**request.payload, **said.payload}})

    def scanner(self, context: Context) -> Scanner:
        """One question to the Guard for each text."""
        return self._scanner(context, PLAIN)

    def _judged(self, payload: Mapping[str, Any], context: Context, media_type: str) -> Decision | None:
        return self.judged_by(payload, self._scanner(context, media_type), names=not self._fields)

    def _scanner(self, context: Context, media_type: str) -> Scanner:
        guard = self._made()
        metadata = {
            "named": list(context.named),
            "sources": list(context.sources),
            "question": context.question,
            "media_type": media_type,
        }

        def scan(text: str) -> list[Finding]:
            if not text:
                return []  # the library takes an empty text for no answer at all
            outcome = guard.validate(text, metadata=dict(metadata))
            if inspect.isawaitable(outcome):
                outcome = asyncio.run(cast("Coroutine[Any, Any, Any]", outcome))
            return _findings(self.rule, text, outcome, _failures(guard, outcome))

        return scan

    def _made(self) -> Any:
        with self._making:
            if self._guard is None:
                self._guard = self._make()
            return self._guard


def _findings(rule: str, text: str, outcome: Any, failures: list[Any]) -> list[Finding]:
    """What a Guard's outcome means. Of several edits the first is made; the others are found again afterwards."""
    if failures:
        found = [finding for failure in failures for finding in _of_failure(rule, text, failure)]
        edits = [finding for finding in found if finding.action == "edit"]
        first = [finding for finding in edits if finding.instead == edits[0].instead]
        return [*first, *(finding for finding in found if finding.action != "edit")]
    if not outcome.validation_passed or not isinstance(outcome.validated_output, str):
        return [Finding(rule, "the Guard did not let it pass", 0, len(text), "reject", Threat.MEDIUM)]
    if outcome.validated_output != text:
        return [Finding(rule, "put right by the Guard", 0, len(text), "edit", Threat.LOW, outcome.validated_output)]
    return []


def _of_failure(rule: str, text: str, failure: Any) -> list[Finding]:
    said = cast("dict[str, Any]", failure.metadata or {})
    fixed = failure.fix_value
    editable = isinstance(fixed, str) and fixed != text
    action = "escalate" if said.get("action") == "escalate" else "edit" if editable else "reject"
    threat = Threat(said["threat"]) if "threat" in said else Threat.MEDIUM
    told = cast("list[tuple[str, str]]", said.get("findings") or [(rule, str(failure.error_message))])
    instead = fixed if editable else ""
    return [Finding(name, reason, 0, len(text), action, threat, instead) for name, reason in told]


def _failures(guard: Any, outcome: Any) -> list[Any]:
    """The FailResults of one validation, from the history that a Guard keeps."""
    call = next((call for call in guard.history if call.id == outcome.call_id), None)
    if call is None or not call.iterations.last:
        return []
    results = [log.validation_result for log in call.iterations.last.validator_logs]
    return [result for result in results if getattr(result, "outcome", None) == "fail"]


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Run ``work`` in a thread of its own that nobody waits for at the end: it may hang."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(cast("_T", result))
        else:
            future.set_exception(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))

    def run() -> None:
        result, failed = None, None
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001 - it belongs to who waits, whatever it is
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="chimera-guardrails", daemon=True).start()
    return await future
