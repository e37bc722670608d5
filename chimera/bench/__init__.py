"""Benchmarks: what the parts cost, measured next to what they are compared with, in the same run."""
