"""What is wrong with data is told by its place, in every message alike, and never with the value.

Proves TR-11 for data that does not keep its contract.
"""

from typing import Any

import pytest
from pydantic import ValidationError

from chimera.core.contracts import Budget, Plan
from chimera.core.invalid import first_problem


@pytest.mark.parametrize(
    ("form", "given", "told"),
    [
        (Budget, {"tokens": "canary"}, "tokens: "),
        (Budget, "canary", "the budget: "),
        (Plan, {"tasks": [{"id": "canary"}]}, "tasks.0.id: "),
    ],
)
def test_the_place_is_named_and_the_value_is_not(form: Any, given: Any, told: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        form.model_validate(given)
    found = first_problem(wrong.value, "the budget")
    assert found.startswith(told)
    assert "canary" not in found
    if told == "the budget: ":
        assert first_problem(wrong.value) == found.removeprefix(told)
