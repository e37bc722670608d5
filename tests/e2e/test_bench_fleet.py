"""``chimera bench fleet`` runs real agents on two worker processes, and loses and repeats none. Proves FR-368."""

import asyncio

import pytest

from chimera.bench.fleet import run
from chimera.core.errors import InputError


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("runner", ["lean", "stock"])
def test_agents_of_two_workers_all_end_once(runner: str) -> None:
    found = asyncio.run(run.measure_fleet("burst", runner, in_flight=30, quick=True)).plain()
    figures = found["figures"]
    assert (figures["lost"], figures["duplicated"]) == (0, 0), found["conditions"]["failed"]
    assert figures["in_flight"] == 30
    assert figures["added_p99_ms"] >= figures["added_p50_ms"] > 0
    assert figures["python_ms_per_run"] > 0
    assert figures["postgres_ms_per_run"] > 0


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(InputError, match="no case"):
        run.main_fleet("11s", "lean", in_flight=0, quick=True, as_json=True)
