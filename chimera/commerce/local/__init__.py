"""Payments with nothing configured: a chain, a signer and a shop on this machine, and money without worth."""
