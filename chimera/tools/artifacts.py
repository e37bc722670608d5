"""Files that missions make: one flat folder for each scope (a mission), under one root.

Names come from models, so nothing but a plain name in its own scope can be reached: folders are opened without
following links and files relative to them. A write is a temporary file that is synced and then renamed, so a reader, a
crash or a full disk never sees half an artifact, and the same write twice leaves the same file.
"""

import errno
import hashlib
import mimetypes
import os
import re
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chimera.core.errors import ArtifactNotFound, InputError, StoreError, StoreFull

MAX_BYTES = 8_000_000
MAX_FILES = 1_000
DEFAULT_TYPE = "text/plain"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}/[a-z0-9][a-z0-9.+-]{0,60}(?:; ?charset=[a-z0-9-]{1,20})?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Stored:
    """One artifact as it lies in the store. The fields are those of ``chimera.core.contracts.Artifact``."""

    name: str
    media_type: str
    size: int
    sha256: str

    def plain(self) -> dict[str, Any]:
        """The value as plain data."""
        return asdict(self)


class ArtifactStore:
    """Artifacts under ``root``. All methods block on the disk; async code calls them in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, scope: str, name: str) -> Path:
        """Where an artifact lies, whether or not it is there.

        Raises:
            InputError: the scope or the name is not allowed.
        """
        return self._root / _checked(scope, _SCOPE, "scope") / _checked(name, _NAME, "artifact name")

    def write(self, scope: str, name: str, content: str | bytes, media_type: str = DEFAULT_TYPE) -> Stored:
        """Keep ``content`` under ``name``, in place of what had that name before.

        Raises:
            InputError: a name, media type or size that is not allowed.
            StoreFull: the disk or the quota is full; what was there before is unharmed.
            StoreError: the folder cannot be written.
        """
        self.path(scope, name)
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        if len(data) > MAX_BYTES:
            raise InputError(f"the artifact has {len(data):,} bytes, allowed are {MAX_BYTES:,}")
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise InputError("not a media type", remedy="Write one such as text/markdown or application/json.")
        with _mapped(name), self._folder(scope, create=True) as folder:
            present = _names(folder)
            if name not in present and len(present) >= MAX_FILES:
                raise InputError(f"the mission already has {MAX_FILES} artifacts")
            _refuse_link(folder, name)
            _replace(folder, _type_file(name), media_type.encode())
            _replace(folder, name, data)
        return Stored(name, media_type, len(data), hashlib.sha256(data).hexdigest())

    def read(self, scope: str, name: str) -> tuple[Stored, bytes]:
        """An artifact and its content.

        Raises:
            InputError: the scope or the name is not allowed.
            ArtifactNotFound: there is none of that name.
            StoreError: it cannot be read.
        """
        self.path(scope, name)
        with _mapped(name), self._folder(scope) as folder:
            return _load(folder, name)

    def list(self, scope: str) -> list[Stored]:
        """The artifacts of ``scope`` by name; none when it has not written any.

        Raises:
            InputError: the scope is not allowed.
            StoreError: the folder cannot be read.
        """
        _checked(scope, _SCOPE, "scope")
        try:
            with _mapped(scope), self._folder(scope) as folder:
                return [_load(folder, name)[0] for name in _names(folder)]
        except ArtifactNotFound:
            return []

    @contextmanager
    def _folder(self, scope: str, *, create: bool = False) -> Generator[int]:
        """An open descriptor of the scope's folder, which is not a link."""
        if create:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(scope, mode=0o700, dir_fd=root)
                    os.fsync(root)
            folder = os.open(scope, _DIRECTORY, dir_fd=root)
        finally:
            os.close(root)
        try:
            yield folder
        finally:
            os.close(folder)


def _checked(text: str, pattern: "re.Pattern[str]", what: str) -> str:
    if not pattern.fullmatch(text):
        raise InputError(
            f"not allowed as {what}", remedy="Use 1 to 64 letters, digits, _ and -, with . in names, not in front."
        )
    return text


@contextmanager
def _mapped(name: str) -> Generator[None]:
    """Turn errors of the file system into ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactNotFound(f"no artifact {name}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(f"artifact {name} was not written: {error.strerror}") from error
        remedy = "Check the artifact folder and who may write to it."
        raise StoreError(f"artifact {name}: {error.strerror or type(error).__name__}", remedy=remedy) from error


def _names(folder: int) -> list[str]:
    return sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))


def _type_file(name: str) -> str:
    return f".{name}.type"


def _refuse_link(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise InputError(f"{name} is not an ordinary file")


def _replace(folder: int, name: str, data: bytes) -> None:
    """Write ``name`` so that it is there whole and for good, or not at all."""
    temporary = f".{secrets.token_hex(8)}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as writing:
            writing.write(data)
            writing.flush()
            os.fsync(file)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _load(folder: int, name: str) -> tuple[Stored, bytes]:
    _refuse_link(folder, name)
    data = _slurp(folder, name)
    try:
        media_type = _slurp(folder, _type_file(name)).decode("ascii", "replace")
    except FileNotFoundError:  # put there by hand
        media_type = mimetypes.guess_type(name)[0] or DEFAULT_TYPE
    return Stored(name, media_type, len(data), hashlib.sha256(data).hexdigest()), data


def _slurp(folder: int, name: str) -> bytes:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(file, "rb") as reading:
        return reading.read(MAX_BYTES)
