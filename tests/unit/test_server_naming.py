"""What a mission from the network may name: nothing of the server's machine, in whatever way it is written.

Proves FR-571.
"""

from pathlib import Path

import pytest

from chimera.core.contracts import Mission
from chimera.core.errors import InputError
from chimera.server.naming import check_named

REFUSED = [
    "/etc/passwd",
    "'/etc/passwd'",
    "see(/etc/passwd)",
    "~/.ssh/id_rsa",
    "~root/x",
    "../secret",
    "a/../../secret",
    "./x",
    "%2Fetc%2Fpasswd",
    "%252Fetc%252Fpasswd",
    "／etc／passwd",
    "file:///etc/passwd",
    "FILE:/etc/passwd",
    "$HOME/x",
    "${HOME}/x",
    "C:\\Windows\\win.ini",
    "\\\\host\\share",
    "//host/share",
    "ftp://example.com/x",
    "gopher://example.com",
    "redis://example.com",
    "http://localhost/x",
    "http://LOCALHOST:6379",
    "http://127.0.0.1",
    "http://127.1/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://[::1]:80/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[2002:7f00:1::]/",
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1",
    "http://192.168.1.1",
    "http://0.0.0.0",
    "http://224.0.0.1",
    "http://intranet/x",
    "http://db.internal/",
    "http://printer.local./",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http:/127.0.0.1",
    "http:127.0.0.1",
    "https://１２７.0.0.1/",
    "http://[::1",
    "here.csv",
    "folder/inner.csv",
    "my file.csv",
]
TAKEN = [
    "comet",
    "and/or",
    "24/7",
    "1.5",
    "Node.js",
    "briefing.md",
    "who?",
    "a, b; c",
    "https://example.com/feed.xml?a=/b",
    "http://93.184.216.34/x",
    "http://example.com.",
    "50 %",
    "x" * 7_000,
    "…",
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's working folder, with files that a relative name would reach."""
    (tmp_path / "folder").mkdir()
    for name in ("here.csv", "folder/inner.csv", "my file.csv"):
        (tmp_path / name).write_text("secret", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_of_this_machine_is_refused_in_any_writing(text: str) -> None:
    """As an input, within the words of a goal, as a constraint and as the persona."""
    for mission in (
        Mission(goal="go", inputs={"feed": text}),
        Mission(goal=f"please read {text} and say what is new"),
        Mission(goal="go", constraints=[f'use "{text}"']),
        Mission(goal="go", persona=text),
    ):
        with pytest.raises(InputError) as refused:
            check_named(mission, None)
        assert text not in str(refused.value)


@pytest.mark.parametrize("text", TAKEN)
def test_other_words_and_public_addresses_are_taken(text: str) -> None:
    check_named(Mission(goal=f"please read {text} today", inputs={"it": text}, persona=text), None)


def test_files_of_the_folder_set_aside_are_taken_and_no_way_out_of_it(here: Path) -> None:
    folder = here / "folder"
    (folder / "out").symlink_to("/etc")
    check_named(Mission(goal=f"read {folder}/inner.csv", inputs={"feed": f"{folder}/new.csv"}), folder)
    for text in (f"{folder}/../here.csv", f"{folder}/out/passwd", "/etc/passwd", f"{here}/here.csv", "http://10.0.0.1"):
        with pytest.raises(InputError):
            check_named(Mission(goal="go", inputs={"feed": text}), folder)
