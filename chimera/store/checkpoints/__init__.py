"""Checkpoints of many threads in one transaction, in the tables of LangGraph's own Postgres saver."""

from chimera.store.checkpoints.group import GroupCommit, Lease
from chimera.store.checkpoints.saver import GroupCommitSaver, open_saver

__all__ = ["GroupCommit", "GroupCommitSaver", "Lease", "open_saver"]
