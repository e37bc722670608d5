"""Which tools were called, and how much was used, against what the case allows."""

from collections import Counter

from chimera.core.money import Money
from chimera.evals.metrics.score import Score, no, share, yes
from chimera.evals.record import Record


def tools(record: Record) -> Score | None:
    """The calls are the expected ones in the way the case asks for, none is forbidden, and they are not too many."""
    expect, made = record.case.expect, record.performed
    wrong = [f"called {name}" for name in dict.fromkeys(made) if name in expect.forbidden]
    if len(made) > expect.max_tool_calls:
        wrong.append(f"{len(made)} calls, {expect.max_tool_calls} are allowed")
    if expect.tools and not (record.excused() and expect.tools.mode != "subset"):
        wrong += _mismatch(expect.tools.mode, expect.tools.calls, made)
    return share(wrong, len(wrong), f"called {', '.join(made) or 'nothing'}")


def _mismatch(mode: str, wanted: list[str], made: list[str]) -> list[str]:
    missing = list((Counter(wanted) - Counter(made)).elements())
    surplus = list((Counter(made) - Counter(wanted)).elements())
    match mode:
        case "strict":
            shown = f"called {', '.join(made) or 'nothing'}, expected {', '.join(wanted) or 'nothing'}"
            return [shown] if made != wanted else []
        case "unordered":
            return [*(f"did not call {name}" for name in missing), *(f"also called {name}" for name in surplus)]
        case "subset":
            return [f"called {name}" for name in dict.fromkeys(made) if name not in wanted]
        case _:
            return [f"did not call {name}" for name in missing]


def budget(record: Record) -> Score | None:
    """No model call began once the budget of tokens or money was used up, and the case's limit holds."""
    limit, options = record.case.expect.max_tokens, record.case.options
    if record.tokens > limit:
        return no(f"{record.tokens} tokens, the case allows {limit}")
    before_last = sum(record.model_calls[:-1])
    if options.tokens is not None and record.model_calls and before_last >= options.tokens:
        return no(f"asked a model again after {before_last} of {options.tokens} tokens")
    if options.money is not None and record.result is not None:
        spent, allowed = record.result.usage.cost.units, Money.parse(options.money).units
        dearest = max(record.model_calls, default=0) / max(record.tokens, 1) * spent
        if spent - dearest >= allowed:
            return no(f"spent {record.result.usage.cost} of {options.money}")
    return yes(f"{record.tokens} tokens in {len(record.model_calls)} calls")
