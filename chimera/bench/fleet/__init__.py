"""``chimera bench fleet``: many agents at once, on few cores."""
