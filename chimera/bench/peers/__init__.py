"""``chimera bench peers``: the same work on other frameworks, each in an environment of its own."""
