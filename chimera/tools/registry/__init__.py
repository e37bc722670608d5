"""Which tool servers there are, in which versions, and what of each is pinned: what ``chimera tools`` shows."""
