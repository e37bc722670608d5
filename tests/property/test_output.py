"""Whatever text comes: no check breaks, an edited text is not edited again, our own secrets are found in any company.

Proves FR-110 and FR-113.
"""

import base64
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from chimera.guards.output.canaries import Canaries
from chimera.guards.output.channels import HiddenChannels, find_channels
from chimera.guards.output.decode import decoded_tokens, token_places
from chimera.guards.output.disclosure import HTML, MARKDOWN, PLAIN, disclose, is_disclosed
from chimera.guards.output.finding import Context, Scanner, examine
from chimera.guards.output.honesty import HonestIdentity
from chimera.guards.output.pii import PersonalData
from chimera.guards.output.promptleak import PromptLeak
from chimera.guards.output.secretrules import example, secret_rules
from chimera.guards.output.secrets import SecretText, find_secrets
from chimera.guards.output.textguard import TextGuard
from chimera.guards.output.unsafe import UnsafeContent

FAST = settings(suppress_health_check=[HealthCheck.too_slow])
FEWER = settings(FAST, max_examples=50)
PIECES = st.sampled_from(
    [
        *("![", "[", "](", "]", "(", ")", "]:", "<", ">", "<a href=", "<img src=", "<script>", "</script>", '"', "'"),
        *(
            "https://evil.io/?d=1",
            "www.",
            "//",
            "\\",
            "data:text/html,",
            "javascript:",
            "&#104;",
            "%41",
            "\n",
            "\n\n",
            " ",
        ),
        *(
            "jane@corp.io",
            "+49 30 901820",
            "4111 1111 1111 1111",
            "password=",
            "://",
            "-----BEGIN ",
            "PRIVATE KEY-----",
        ),
        *("\u200b", "\r", "\ud800", "\x00", "\U000e0041", "İ", "ﬁ", "٣", "```", "`", "*", "#", "a", "0", ":", "="),
    ]
)
TEXT = st.lists(st.one_of(PIECES, st.text(st.characters(), max_size=8)), max_size=25).map("".join)
RUNS = st.sampled_from(["x", "Zz9+/_-", "=", "==", " ", "\n", "é", "\U0001f600", "\ud800"])
RUN = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{16,}+={0,2}")
PROMPT = "You are the planner of a team. You get a goal, inputs and tools as JSON and make a task graph."
GUARDS: list[TextGuard] = [
    SecretText(),
    PersonalData(regions=["US", "DE"]),
    HiddenChannels(),
    PromptLeak([PROMPT]),
    UnsafeContent(),
    HonestIdentity(),
]
SCANNERS: list[Scanner] = [guard.scanner(Context(question="Are you a robot?")) for guard in GUARDS]


@FAST
@given(TEXT)
def test_no_text_breaks_a_check_and_an_edited_text_is_settled(text: str) -> None:
    for scan in SCANNERS:
        outcome = examine(text, scan)
        if outcome.action == "allow":
            assert outcome.text == text
        if outcome.action in ("allow", "edit"):
            assert examine(outcome.text, scan).action == "allow"


@FEWER
@given(st.dictionaries(TEXT, st.recursive(TEXT | st.integers() | st.none(), st.lists, max_leaves=6), max_size=4))
def test_no_payload_breaks_a_guard_or_loses_a_value(payload: dict[str, Any]) -> None:
    for guard in GUARDS:
        decision = guard.judge(payload, Context())
        if decision is not None and decision.payload is not None:
            assert len(decision.payload) == len(payload)


@FAST
@given(TEXT, TEXT, st.integers(0, 5), st.sampled_from(secret_rules()))
def test_no_company_hides_a_key(before: str, after: str, seed: int, rule: Any) -> None:
    key = example(rule, seed)
    outcome = examine(f"{before}\n {key} \n{after}", find_secrets)
    assert outcome.action != "allow"


@FAST
@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=12, max_size=40),
    TEXT,
    TEXT,
    st.integers(0, 3),
)
def test_no_company_hides_our_own_secret(value: str, before: str, after: str, way: int) -> None:
    if sum(char.isalnum() for char in value) < 8:
        return
    data = value.encode()
    form = [value, base64.b64encode(b"x" * way + data).decode(), data.hex(), "\u200b".join(value)][way]
    assert Canaries([SecretStr(value)]).found_in(f"{before} {form} {after}")


@FAST
@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=12, max_size=40), TEXT, TEXT, st.booleans()
)
def test_the_shortest_token_is_read_in_any_company(said: str, before: str, after: str, is_hex: bool) -> None:
    token = said.encode().hex() if is_hex else base64.urlsafe_b64encode(said.encode()).decode()
    assert said in [plain for _, _, plain in decoded_tokens(f"{before} {token} {after}")]


@FAST
@given(TEXT)
def test_no_remote_picture_is_left(text: str) -> None:
    left = examine(f"{text}\n\n![a](https://evil.io/x.png)\n\n{text}", find_channels)
    assert left.action == "reject" or "](https://evil.io/x.png)" not in left.text


@FAST
@given(TEXT, st.sampled_from([PLAIN, MARKDOWN, HTML]))
def test_a_label_once_added_is_there(text: str, media_type: str) -> None:
    labelled = disclose(text, media_type)
    seen = is_disclosed(labelled, media_type)
    assert seen or (media_type != PLAIN and "<" in text)  # an open comment or script hides what follows it
    assert not seen or disclose(labelled, media_type) == labelled


@given(st.lists(st.tuples(RUNS, st.integers(1, 20)), max_size=12))
def test_runs_of_an_encoding_are_found_where_the_pattern_finds_them(parts: list[tuple[str, int]]) -> None:
    """The quick search means what the pattern means that says what a run is."""
    text = "".join(piece * times for piece, times in parts)
    assert list(token_places(text)) == [match.span() for match in RUN.finditer(text)]
