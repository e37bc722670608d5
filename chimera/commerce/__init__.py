"""Money: assets, payment intents, and the ledger that reserves, captures, gives back and takes back."""
