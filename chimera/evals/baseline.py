"""The committed baseline: how each case did when somebody last looked at it and accepted it."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from chimera.core.contracts import Contract
from chimera.core.errors import InputError, SpecError
from chimera.core.invalid import first_problem
from chimera.evals.cases import dataset_digest
from chimera.evals.results import CaseResult

BASELINE = Path(__file__).parent / "baselines" / "missions.json"


class BaselineCase(Contract):
    """How one case did. Another digest is another case, which the baseline does not speak for."""

    digest: str
    passed: bool
    scores: dict[str, float] = Field(default_factory=dict)


class Baseline(Contract):
    """The results that later ones must not fall behind."""

    model: str
    dataset: str
    pass_rate: float
    means: dict[str, float]
    cases: dict[str, BaselineCase]


def load_baseline(path: Path = BASELINE) -> Baseline | None:
    """The committed baseline; None when there is none yet.

    Raises:
        SpecError: the file is no baseline.
    """
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise SpecError(f"{path.name} is no baseline: {first_problem(error)}") from None


def make_baseline(results: Sequence[CaseResult], model: str) -> Baseline:
    """What would be committed of these results."""
    return Baseline(
        model=model,
        dataset=dataset_digest([result.record.case for result in results]),
        pass_rate=round(sum(result.passed for result in results) / len(results), 4),
        means=means(results),
        cases={
            result.id: BaselineCase(
                digest=result.record.case.digest(),
                passed=result.passed,
                scores={name: round(score.value, 4) for name, score in result.scores.items()},
            )
            for result in results
        },
    )


def write_baseline(baseline: Baseline, path: Path = BASELINE) -> None:
    """Write it with one case per line, so that a change of it can be read.

    Raises:
        InputError: the file cannot be written.
    """
    plain = baseline.plain()
    cases = plain.pop("cases")
    head = json.dumps(plain, indent=1, sort_keys=True)[:-2]
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(cases[name], sort_keys=True)}" for name in cases)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{head},\n "cases": {{\n{lines}\n }}\n}}\n', encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the baseline cannot be written: {error.strerror}", remedy=f"Make {path} writable."
        ) from error


def means(results: Sequence[CaseResult]) -> dict[str, float]:
    """The mean score of each metric over the cases that it applies to."""
    values: dict[str, list[float]] = {}
    for result in results:
        for name, score in result.scores.items():
            values.setdefault(name, []).append(score.value)
    return {name: round(sum(found) / len(found), 4) for name, found in sorted(values.items())}
