"""Simulators of vendors' tool servers: the same tools with the same schemas, and answers that nobody gave."""
