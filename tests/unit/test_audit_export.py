"""Events for other systems and for people: OCSF, the page, the key, and times as people write them.

Proves TR-43 and TR-45 in what needs no database: whatever an event holds, its OCSF form has what the schema requires;
whatever text is in a report, the page shows it and runs nothing; the private key is in no message.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chimera.cli.commands.audit_out import read_time
from chimera.cli.view.audit_page import page
from chimera.core.contracts import Threat
from chimera.core.errors import InputError, SettingsInvalid
from chimera.core.settings import Settings
from chimera.store.audit.chain import Verified
from chimera.store.audit.checkpoint import Checkpoint
from chimera.store.audit.kinds import KINDS
from chimera.store.audit.ocsf import as_ocsf
from chimera.store.audit.owasp import rules
from chimera.store.audit.report import Reviews, Summary
from chimera.store.audit.signing import load_signer, own_key, read_public_keys
from chimera.store.audit.stream import Part
from chimera.store.incidents import Incident

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = json.loads(resources.files("chimera.store.audit").joinpath("ocsf.schema.json").read_text("utf-8"))
HOSTILE = '<script>alert(1)</script><img src="http://example.com/x" onerror=x>"\'&\u202egpj.\u200b'


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {
        "seq": 7,
        "at": "2026-03-01T09:00:00+00:00",
        "tenant": "default",
        "mission_id": "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11",
        "kind": kind,
        "actor": "agent:a",
        "data": data,
        "prev_hash": "0" * 64,
        "hash": "1" * 64,
    }


# --- OCSF ------------------------------------------------------------------------------------------------------------

check = Draft202012Validator(SCHEMA)


def test_the_schema_is_one_and_refuses_what_lacks_something() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    whole = as_ocsf(event("guard.decision", action="reject", threat="high", rules=["text.hidden"]))
    assert check.is_valid(whole)
    for name in ("finding_info", "class_uid", "metadata", "type_uid", "severity_id", "time", "disposition_id"):
        assert not check.is_valid({key: value for key, value in whole.items() if key != name}), name


@pytest.mark.parametrize("kind", [*KINDS, "nobody.knows"])
@pytest.mark.parametrize("action", ["allow", "edit", "escalate", "reject", None])
def test_every_kind_has_what_its_class_requires(kind: str, action: str | None) -> None:
    made = as_ocsf(event(kind, action=action, threat="low", rules=["text.hidden", "unknown"], incident="x", policy="p"))
    assert list(check.iter_errors(made)) == []
    assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"]
    assert made["category_uid"] == made["class_uid"] // 1000
    assert [found["value"] for found in made["enrichments"]] == ["ASI01"]


@pytest.mark.parametrize(("threat", "severity"), [("none", 1), ("low", 2), ("medium", 3), ("high", 4), ("critical", 5)])
def test_threats_are_severities(threat: str, severity: int) -> None:
    made = as_ocsf(event("guard.decision", action="allow", threat=threat))
    assert (made["severity_id"], made["class_uid"]) == (severity, 6003 if severity < 3 else 2004)
    assert made["time"] == 1_772_355_600_000
    assert made["metadata"]["uid"] == "1" * 64


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(sorted(rules())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["action", "threat", "rules", "reasons", "edge", "incident", "policy", "capability", "item"])


@settings(database=None)
@given(st.sampled_from([*KINDS, "x"]), st.dictionaries(names, odd, max_size=6), st.text(max_size=8))
def test_no_event_is_too_odd(kind: str, data: dict[str, Any], at: str) -> None:
    assert list(check.iter_errors(as_ocsf({**event(kind), "data": data, "at": at}))) == []


def test_an_event_that_was_changed_to_no_json_is_told_as_it_is() -> None:
    made = as_ocsf({"seq": 3, "body": "no json", "prev_hash": "0", "hash": "1"})
    assert list(check.iter_errors(made)) == []
    assert made["unmapped"]["body"] == "no json"


# --- the page --------------------------------------------------------------------------------------------------------


class Seen(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_summary() -> Summary:
    odd = event(HOSTILE, edge=HOSTILE, action=HOSTILE, rules=[HOSTILE], reasons=[HOSTILE], threat="critical")
    incident = Incident(
        id=HOSTILE,
        tenant=HOSTILE,
        mission_id=None,
        agent=HOSTILE,
        pool=HOSTILE,
        edge=HOSTILE,
        rule=HOSTILE,
        threat="critical",
        reasons=[HOSTILE],
        opened_at=NOW,
        released_at=NOW,
        released_by=HOSTILE,
        reason=HOSTILE,
        state="released",
        quarantined=[HOSTILE],
    )
    made = Summary(Part(tenant=HOSTILE, since=NOW), NOW, HOSTILE, events=1)
    made.kinds[HOSTILE] = 1
    made.decisions[(HOSTILE, "reject")] = made.rules[(HOSTILE, "reject")] = made.threats[Threat.CRITICAL] = 1
    made.policy, made.critical, made.incidents = [{**odd, "actor": HOSTILE}], [{**odd, "at": HOSTILE}], [incident]
    made.checkpoints = [Checkpoint(HOSTILE, 3, HOSTILE, HOSTILE, HOSTILE, HOSTILE)]
    row = {"point": HOSTILE, "question": HOSTILE, "created_at": NOW, "decided_at": NOW}
    made.reviews = Reviews(
        asked=1, answered=1, by={HOSTILE: [90_000.0]}, rows=[{**row, "decision": {"reviewer": HOSTILE}}]
    )
    return made


def test_no_text_gets_out_of_its_place() -> None:
    seen = Seen()
    seen.feed(page(hostile_summary()))
    found = {name for name, _ in seen.elements}
    assert not found & {"script", "img", "link", "iframe", "object", "form", "a", "base"}
    for name, attributes in seen.elements:
        assert not any(key.startswith("on") or key in ("src", "href") for key in attributes), (name, attributes)
    assert seen.text.count("<script>alert(1)</script>") >= 15
    assert "\u202e" not in seen.text
    assert "⟨U+202E⟩" in seen.text


def test_the_page_loads_nothing_and_shows_light_and_dark() -> None:
    made = page(Summary(Part(), NOW, Verified("default", 3, 1, 3, "f" * 64)))
    style = made[made.index("<style>") : made.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    assert "default-src &#x27;none&#x27;" in made
    assert "prefers-color-scheme: dark" in style
    assert "record intact" in made
    assert "No event is signed" in made


def test_a_broken_record_is_the_first_thing_that_is_said() -> None:
    made = page(Summary(Part(), NOW, "tenant default: event 3 was changed"))
    assert made.index("record broken") < made.index("event 3 was changed") < made.index("By threat")


# --- the key ---------------------------------------------------------------------------------------------------------


def written(path: Path, key: Any, mode: int = 0o600) -> str:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    path.write_text(text, "ascii")
    path.chmod(mode)
    return text


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    assert own_key(settings) is None  # looking makes none
    first, second = load_signer(settings), load_signer(settings)
    path = tmp_path / "home" / "audit" / "key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(file.name for file in path.parent.iterdir()) == ["key.pem", "key.pub.pem"]
    assert first.public_key.id == second.public_key.id
    (public,) = read_public_keys([path.with_suffix(".pub.pem")])
    assert public.signed(second.sign("default", 3, "f" * 64, "now"))
    mine = own_key(settings)
    assert mine is not None
    assert mine.id == public.id


def test_a_key_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    secret = written(path, Ed25519PrivateKey.generate())
    settings = Settings(home=tmp_path / "home", audit_key=path, audit_checkpoint_every=5)
    signer = load_signer(settings)
    assert signer.every == 5
    assert not (tmp_path / "home").exists()
    line = secret.splitlines()[1]
    for shown in (repr(signer), str(vars(signer)), signer.public_key.pem, str(signer.sign("t", 1, "h", "a").plain())):
        assert line not in shown


@pytest.mark.parametrize("kind", ["missing", "open to others", "another kind", "garbage", "public", "a folder"])
def test_a_key_that_cannot_be_used_is_refused_and_not_shown(tmp_path: Path, kind: str) -> None:
    path, secret = tmp_path / "key.pem", "c2VjcmV0IGNhbmFyeSB0ZXh0"
    match kind:
        case "open to others":
            secret = written(path, Ed25519PrivateKey.generate(), 0o644).splitlines()[1]
        case "another kind":
            secret = written(path, ec.generate_private_key(ec.SECP256R1())).splitlines()[1]
        case "garbage":
            path.write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
            path.chmod(0o600)
        case "public":
            path.write_text(load_signer(Settings(home=tmp_path / "home")).public_key.pem)
            path.chmod(0o600)
        case "a folder":
            path.mkdir(mode=0o700)
        case _:
            pass
    settings = Settings(home=tmp_path / "other", audit_key=path)
    for use in (load_signer, own_key):
        with pytest.raises(SettingsInvalid) as refused:
            use(settings)
        told: BaseException | None = refused.value
        while told is not None:
            assert secret not in str(told)
            told = told.__cause__ or told.__context__
    assert not (tmp_path / "other").exists()  # no other key is made instead


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.pem"
    path.write_text(text)
    with pytest.raises(InputError):
        read_public_keys([path])
    with pytest.raises(InputError):
        read_public_keys([tmp_path / "missing.pem"])


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T10:00", datetime(2026, 2, 1, 10, tzinfo=UTC)),
        ("2026-02-01T10:00+02:00", datetime(2026, 2, 1, 8, tzinfo=UTC)),
        ("24h", NOW - timedelta(days=1)),
        ("30d", NOW - timedelta(days=30)),
        (" 2w ", NOW - timedelta(days=14)),
    ],
)
def test_times_are_read_as_people_write_them(text: str, at: datetime) -> None:
    assert read_time(text, NOW) == at


@pytest.mark.parametrize("text", ["", "yesterday", "0d", "-1d", "2026-13-01", "1.5h"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(InputError):
        read_time(text, NOW)
