"""Simulators: parts of the world that tests and dry runs need, each of which says that it is a simulator."""
