"""Evaluations: golden data sets, metrics, a runner, gates against committed baselines, and reports."""
