"""The flow guard's engine: where values come from, and what they may therefore decide."""
