"""Our checks as validators of guardrails-ai, and any Guard of guardrails-ai as a guard of ours.

Importing this package imports nothing of guardrails-ai: that takes seconds (``cost.py`` measures it), and the hot edges
call the same plain functions directly.
"""
