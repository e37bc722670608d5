"""``chimera eval attacks``: how much of what an attacker wants gets through, if the agent always obeys him."""
