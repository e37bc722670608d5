"""Chains of the EVM behind one port: real ones over JSON-RPC, and one in this process."""
