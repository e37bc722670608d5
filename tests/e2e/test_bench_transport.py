"""``chimera bench transport`` measures real calls over HTTP, ours and the SDK's own. Proves FR-366."""

import asyncio

import pytest


@pytest.mark.long
@pytest.mark.timeout(300)
def test_both_transports_are_measured_and_no_call_fails() -> None:
    from chimera.bench import transport  # and with it a large SDK, which only this test needs

    found = asyncio.run(transport.measure_transport(quick=True)).plain()
    assert found["figures"]["failed_calls"] == 0
    assert found["figures"]["http_call_ms"] > 0
    assert found["goals"]["transport_speedup"] == [">=", 2.0]
    assert "loopback" in found["conditions"]["simulated"][0]
