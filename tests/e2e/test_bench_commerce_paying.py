"""Payments end to end while everything fails: real processes, a real EVM, real kills, and three sums that agree.

Proves FR-675 and FR-676. It is the code of ``chimera bench commerce`` with fewer payments; no figure is compared with a
time. The naive control is there to show that the faults are such that money can be lost.
"""

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")
pytest.importorskip("eth_tester", reason="the extra commerce is not installed")

from chimera.bench.commerce.paying import Size, paying

SIZE = Size(
    agents=20, payments=80, tenants=2, kills=2, dooms=2, signer_kills=1, postgres=1, reorgs=2,
    ours=12, usual=4, naive_agents=8, naive_each=5,
)  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_money_is_lost_while_everything_fails() -> None:
    found = paying(SIZE)
    assert found["proposed"] == 80
    assert found["expected_units"] > 0
    assert found["captured_units"] == found["chain_units"] == found["wallet_units"] == found["expected_units"]
    wrong = ("overspent_budgets", "double_payments", "lost_holds", "unfinished", "ledger_faults", "money_missing")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert found["payments_refused"] > 0
    assert found["worker_kills"] + found["step_kills"] >= 2
    assert (found["signer_kills"], found["postgres_restarts"], found["reorgs"]) == (1, 1, 2)
    assert found["rpc_lose"] > 0
    assert found["naive_overspend_units"] > 0
