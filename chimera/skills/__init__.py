"""What agents can do as plain Python: one class for each skill."""
