"""Everything that the lean runner takes from inside LangGraph, in one place, with what it is for.

These names are not LangGraph's public interface: the version is held in ``pyproject.toml``, and the random graphs that
run on both runners (``tests/property/test_lean_graphs.py``) notice when one of them comes to mean something else.
"""

# What a graph is made of once it is compiled: the reducers and channels of its state, the readers and writers of its
# nodes, and the branches of its conditional edges.
from langgraph._internal._config import ensure_config
from langgraph._internal._constants import (
    CONF,  # the part of a config that nodes do not see as theirs
    CONFIG_KEY_CALL,  # where a node finds the scheduler of its @task calls
    CONFIG_KEY_CHECKPOINT_ID,
    CONFIG_KEY_CHECKPOINT_MAP,
    CONFIG_KEY_CHECKPOINT_NS,
    CONFIG_KEY_CHECKPOINTER,
    CONFIG_KEY_READ,  # where a branch finds the state with its own node's writes in it
    CONFIG_KEY_RUNTIME,
    CONFIG_KEY_SCRATCHPAD,  # what interrupt() counts with
    CONFIG_KEY_SEND,  # where a writer leaves its writes
    CONFIG_KEY_TASK_ID,
    CONFIG_KEY_THREAD_ID,
    ERROR,
    ERROR_SOURCE_NODE,
    INPUT,  # the name under which the input of a run is applied
    INTERRUPT,
    NO_WRITES,
    NULL_TASK_ID,
    PULL,
    RESUME,
    TASKS,  # the channel of Send
)
from langgraph._internal._runnable import RunnableCallable  # a node or a branch that is a function of ours
from langgraph._internal._scratchpad import PregelScratchpad
from langgraph._internal._typing import MISSING
from langgraph.channels.base import BaseChannel
from langgraph.channels.binop import BinaryOperatorAggregate
from langgraph.channels.ephemeral_value import EphemeralValue
from langgraph.channels.last_value import LastValue
from langgraph.channels.named_barrier_value import NamedBarrierValue
from langgraph.channels.topic import Topic
from langgraph.checkpoint.base.id import uuid6  # ids that rise within a thread
from langgraph.pregel._algo import (
    LazyAtomicCounter,
    _xxhash_str,  # pyright: ignore[reportPrivateUsage] - the ids of tasks, as they stand in pending writes
    task_path_str,
)
from langgraph.pregel._checkpoint import LATEST_VERSION
from langgraph.pregel._io import map_output_updates  # the chunks of stream_mode "updates"
from langgraph.pregel._read import PregelNode
from langgraph.pregel._retry import (
    _is_user_raised_cancelled,  # pyright: ignore[reportPrivateUsage] - a node that cancels itself has failed
    _should_retry_on,  # pyright: ignore[reportPrivateUsage] - the meaning of RetryPolicy.retry_on
)
from langgraph.pregel._task_status import CONTROL_WRITES, read_task_statuses
from langgraph.pregel._write import PASSTHROUGH, ChannelWrite, ChannelWriteEntry, ChannelWriteTupleEntry
from langgraph.pregel.main import _coerce_context  # pyright: ignore[reportPrivateUsage] - a dict as context_schema

hash_id = _xxhash_str
is_own_cancel = _is_user_raised_cancelled
may_retry = _should_retry_on
coerce_context = _coerce_context

__all__ = [
    "CONF",
    "CONFIG_KEY_CALL",
    "CONFIG_KEY_CHECKPOINTER",
    "CONFIG_KEY_CHECKPOINT_ID",
    "CONFIG_KEY_CHECKPOINT_MAP",
    "CONFIG_KEY_CHECKPOINT_NS",
    "CONFIG_KEY_READ",
    "CONFIG_KEY_RUNTIME",
    "CONFIG_KEY_SCRATCHPAD",
    "CONFIG_KEY_SEND",
    "CONFIG_KEY_TASK_ID",
    "CONFIG_KEY_THREAD_ID",
    "CONTROL_WRITES",
    "ERROR",
    "ERROR_SOURCE_NODE",
    "INPUT",
    "INTERRUPT",
    "LATEST_VERSION",
    "MISSING",
    "NO_WRITES",
    "NULL_TASK_ID",
    "PASSTHROUGH",
    "PULL",
    "RESUME",
    "TASKS",
    "BaseChannel",
    "BinaryOperatorAggregate",
    "ChannelWrite",
    "ChannelWriteEntry",
    "ChannelWriteTupleEntry",
    "EphemeralValue",
    "LastValue",
    "LazyAtomicCounter",
    "NamedBarrierValue",
    "PregelNode",
    "PregelScratchpad",
    "RunnableCallable",
    "Topic",
    "coerce_context",
    "ensure_config",
    "hash_id",
    "is_own_cancel",
    "map_output_updates",
    "may_retry",
    "read_task_statuses",
    "task_path_str",
    "uuid6",
]
