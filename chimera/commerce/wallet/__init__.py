"""The wallets of agents: a signer in a process of its own, the only part that has keys, and what it signs."""
