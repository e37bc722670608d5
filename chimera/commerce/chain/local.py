"""The id of the local chain, without the packages that the chain itself needs."""

LOCAL_CHAIN = 131_277_322_940_537
"""The id that eth-tester gives its chain; no public chain has it."""
