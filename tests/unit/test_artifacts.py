"""Artifacts stay in the folder of their mission, are whole or absent, and a full disk harms nothing.

Proves FR-55.
"""

import errno
import os
from pathlib import Path

import pytest

from chimera.core.contracts import Artifact
from chimera.core.errors import ArtifactNotFound, InputError, StoreError, StoreFull
from chimera.tools import artifacts
from chimera.tools.artifacts import ArtifactStore

SCOPE = "0d9c7c1e-mission"
BAD_NAMES = [
    "", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", ".hidden", "-rf", "a b", "x" * 65, "a\0b", "a\n", "naïve", "~",
    "CON:", "..%2fx", "a/../../b",
]  # fmt: skip
BAD_SCOPES = ["", ".", "..", "../other", "a/b", "/tmp", ".x", "x" * 65, "a\0", "a\n", "a.b"]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "root")


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_what_is_written_is_read(store: ArtifactStore) -> None:
    written = store.write(SCOPE, "briefing.md", "Grüße\n", "text/markdown")
    assert Artifact(**written.plain()).size == 8
    assert store.read(SCOPE, "briefing.md") == (written, "Grüße\n".encode())
    assert store.path(SCOPE, "briefing.md").read_text() == "Grüße\n"
    assert store.list(SCOPE) == [written]


def test_the_same_write_twice_is_one_file(store: ArtifactStore, tmp_path: Path) -> None:
    first = store.write(SCOPE, "a.json", "{}", "application/json")
    assert store.write(SCOPE, "a.json", "{}", "application/json") == first
    assert files(tmp_path / "root") == [f"{SCOPE}/.a.json.type", f"{SCOPE}/a.json"]


def test_a_new_write_replaces_the_old_one(store: ArtifactStore) -> None:
    store.write(SCOPE, "a", "one, long")
    store.write(SCOPE, "a", b"two", "application/octet-stream")
    stored, data = store.read(SCOPE, "a")
    assert (data, stored.media_type, stored.size) == (b"two", "application/octet-stream", 3)


def test_missions_do_not_see_each_other(store: ArtifactStore) -> None:
    store.write("m1", "a", "secret")
    assert store.list("m2") == []
    with pytest.raises(ArtifactNotFound):
        store.read("m2", "a")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_could_lead_away_are_refused(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    for attempt in (
        lambda: store.write(SCOPE, name, "x"),
        lambda: store.read(SCOPE, name),
        lambda: store.path(SCOPE, name),
    ):
        with pytest.raises(InputError):
            attempt()
    assert files(tmp_path) == []


@pytest.mark.parametrize("scope", BAD_SCOPES)
def test_scopes_that_could_lead_away_are_refused(store: ArtifactStore, tmp_path: Path, scope: str) -> None:
    for attempt in (lambda: store.write(scope, "a", "x"), lambda: store.read(scope, "a"), lambda: store.list(scope)):
        with pytest.raises(InputError):
            attempt()
    assert files(tmp_path) == []


def test_links_are_not_followed(store: ArtifactStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    store.write(SCOPE, "a", "x")
    folder = tmp_path / "root" / SCOPE
    (folder / "link").symlink_to(secret)
    for attempt in (
        lambda: store.read(SCOPE, "link"), lambda: store.write(SCOPE, "link", "y"), lambda: store.list(SCOPE),
    ):  # fmt: skip
        with pytest.raises((InputError, StoreError)):
            attempt()
    assert secret.read_text() == "canary"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "other").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        store.write("other", "a", "x")
    assert files(tmp_path / "elsewhere") == []


def test_what_is_no_ordinary_file_is_not_waited_for(store: ArtifactStore, tmp_path: Path) -> None:
    store.write(SCOPE, "a", "x")
    os.mkfifo(tmp_path / "root" / SCOPE / "pipe")
    with pytest.raises(InputError):
        store.read(SCOPE, "pipe")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_what_was_there(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    before = store.write(SCOPE, "a", "old")

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull) as caught:
        store.write(SCOPE, "a", "new")
    monkeypatch.undo()
    assert caught.value.code == "CH304"
    assert store.read(SCOPE, "a") == (before, b"old")
    assert files(tmp_path / "root") == [f"{SCOPE}/.a.type", f"{SCOPE}/a"]


def test_limits(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="bytes"):
        store.write(SCOPE, "a", b"x" * (artifacts.MAX_BYTES + 1))
    for media_type in ("", "text", "text/html\nX: y", "text/" + "x" * 200):
        with pytest.raises(InputError, match="media type"):
            store.write(SCOPE, "a", "x", media_type)
    monkeypatch.setattr(artifacts, "MAX_FILES", 2)
    for name in ("a", "b", "a"):
        store.write(SCOPE, name, "x")
    with pytest.raises(InputError, match="already has 2"):
        store.write(SCOPE, "c", "x")


def test_a_root_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        ArtifactStore(tmp_path / "file").write(SCOPE, "a", "x")
    with pytest.raises(ArtifactNotFound):
        ArtifactStore(tmp_path / "nothing").read(SCOPE, "a")
    assert ArtifactStore(tmp_path / "nothing").list(SCOPE) == []


def test_a_file_put_there_by_hand_has_a_type(store: ArtifactStore, tmp_path: Path) -> None:
    store.write(SCOPE, "a", "x")
    (tmp_path / "root" / SCOPE / "page.html").write_text("<p>")
    assert [stored.media_type for stored in store.list(SCOPE)] == ["text/plain", "text/html"]
