"""The fleet: where agents run."""
