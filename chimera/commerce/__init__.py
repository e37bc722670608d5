"""Money: assets, payment intents, and the ledger that reserves, captures, gives back and takes back."""

from chimera.core.recursion import keep_recursion_limit

keep_recursion_limit()  # before any package of chains is imported anywhere
