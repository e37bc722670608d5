"""Guards decide at every edge: allow, edit, escalate or reject. What fails, times out or is missing rejects."""
