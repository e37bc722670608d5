"""Secrets do not leave: key formats, random tokens, and the secrets of this installation in whatever form.

Proves FR-110. No key stands in these files: samples are made from the rules, by seed.
"""

import base64
import random
import string
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel, SecretStr

from chimera.core.contracts import Decision, Threat
from chimera.guards.output.canaries import Canaries, CanaryDigest, CanaryText, secrets_of
from chimera.guards.output.finding import Context, examine
from chimera.guards.output.randomness import base58check, is_base58check
from chimera.guards.output.secretrules import SecretRule, example, secret_rules
from chimera.guards.output.secrets import SecretText, find_secrets
from chimera.guards.request import Edge, GuardRequest

RULES = {rule.id: rule for rule in secret_rules()}
VALUE = "Wren-4471/Kestrel&Q9"
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "backwards": lambda value: value[::-1],
    "spaced": " ".join,
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "dotted": ".".join,
    "one character a line": "\n".join,
    "full width": lambda value: "".join(chr(ord(char) + 0xFEE0) for char in value),
    "percent": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "entities": lambda value: "".join(f"&#{byte};" for byte in value.encode()),
    "hex": lambda value: value.encode().hex(),
    "hex in capitals": lambda value: value.encode().hex().upper(),
    "hex with spaces": lambda value: value.encode().hex(" "),
    "hex escapes": lambda value: "".join(f"\\x{byte:02x}" for byte in value.encode()),
    "Base64": lambda value: base64.b64encode(value.encode()).decode(),
    "Base64 behind one byte": lambda value: base64.b64encode(b"a" + value.encode() + b"zz").decode(),
    "Base64 behind two bytes": lambda value: base64.b64encode(b"ab" + value.encode()).decode(),
    "Base64 for addresses": lambda value: base64.urlsafe_b64encode(b"ab" + value.encode()).decode().rstrip("="),
    "Base32": lambda value: base64.b32encode(b"abc" + value.encode()).decode(),
    "Base64 of the reverse": lambda value: base64.b64encode(value[::-1].encode()).decode(),
    "Base64 twice": lambda value: base64.b64encode(base64.b64encode(b"the key is " + value.encode())).decode(),
    "percent of Base64": lambda value: quote(quote(base64.b64encode(value.encode()).decode())),
}


async def decided(guard: SecretText | CanaryText, text: str, edge: Edge = Edge.OUTPUT) -> Decision | None:
    return await guard.check(GuardRequest(edge=edge, payload={"answer": text}))


@pytest.mark.parametrize("rule", secret_rules(), ids=list(RULES))
def test_each_format_is_found_and_removed(rule: SecretRule) -> None:
    for seed in range(20):
        text = f"Here you are: {example(rule, seed)} and that was it."
        outcome = examine(text, find_secrets)
        assert outcome.action == "edit", text
        assert outcome.threat is Threat.HIGH
        assert f"secret.{rule.id}" in {finding.rule for finding in outcome.findings}
        assert "[secret removed: secret." in outcome.text
        assert outcome.text.startswith("Here you are: ")
        assert examine(outcome.text, find_secrets).action == "allow"


@pytest.mark.parametrize("rule", secret_rules(), ids=list(RULES))
def test_what_only_looks_alike_stays(rule: SecretRule) -> None:
    assert find_secrets(rule.near) == []


def test_a_key_is_found_in_base64_and_between_hidden_characters() -> None:
    key = example(RULES["github-token"])
    assert examine(base64.b64encode(key.encode()).decode(), find_secrets).action == "edit"
    assert "ghp" not in examine("\u200b".join(key), find_secrets).text


def test_what_was_found_is_not_in_the_reasons() -> None:
    outcome = examine(example(RULES["assigned"]), find_secrets)
    assert not any(part in reason for reason in outcome.reasons for part in example(RULES["assigned"]).split("=")[1:])


@pytest.mark.parametrize("length", [24, 32, 40, 64, 88])
def test_random_tokens_are_found_by_their_entropy(length: int) -> None:
    dice = random.Random(length)
    tokens = ["".join(dice.choices(string.ascii_letters + string.digits, k=length)) for _ in range(200)]
    found = [any(hit.rule == "secret.random" for hit in find_secrets(f"use {token} now")) for token in tokens]
    assert sum(found) >= 190


@pytest.mark.parametrize(
    "text",
    [
        str(uuid.UUID(int=0x12345678123456781234567812345678)),
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 63b8dcaf0d5f5a0c5d2a9d7e4b1c3f6a8e9d0b2c",
        "[trending_sample:162] [team-1/t2] [feed-2026-11-23:7]",
        "0x8004A169FB4a3325136EB29fA0ceB6D2e539a432",
        "https://docs.example.org/document/d/1aBcD3eFgH1jK7mNoPqRsT2uVwXyZ9aBcD3eFgH1/edit",
        "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "SHA256:47DEQpj8HBSa+TImW5JCeuQeRkm5NMpJWZG3hSuFU",
        "chimera/guards/output/TextGuardOfThe2ndKind/HiddenChannels20261123.py",
        "Top-10-AI-Tools-2026-Edition-For-Beginners",
        "CamelCaseNamesOfClasses2AreNotRandomTokens",
        "CHIMERA_MODEL_BASE_URL=http://localhost:8000/v1",
        "A" * 400,
        "Donaudampfschifffahrtsgesellschaftskapitän",
        "password: classification, token: sequence-labelling, secret: none of your business",
    ],
)
def test_ids_digests_and_names_are_no_secrets(text: str) -> None:
    assert find_secrets(text) == []


def test_addresses_of_wallets_are_no_keys_of_wallets() -> None:
    address = base58check(bytes(1) + random.Random(1).randbytes(20))
    assert is_base58check(address)
    assert not is_base58check(address[:-1] + ("1" if address[-1] != "1" else "2"))
    assert find_secrets(f"pay to {address}") == []


async def test_names_in_arguments_and_lists_are_looked_at_too() -> None:
    key = example(RULES["stripe-key"])
    payload: dict[str, Any] = {"list": [{"deep": key}, 7], key: "value", "plain": "text"}
    decision = await SecretText().check(GuardRequest(edge=Edge.TOOL_CALL, payload=payload))
    assert decision is not None
    assert decision.action == "edit"
    assert key not in str(decision.payload)
    assert decision.payload is not None
    assert decision.payload["list"][1] == 7
    assert decision.payload["plain"] == "text"
    assert decision.rules == ["output.secrets", "secret.stripe-key"]


@pytest.mark.parametrize("form", FORMS)
async def test_our_own_secret_is_rejected_in_every_form(form: str) -> None:
    decision = await decided(CanaryText([SecretStr(VALUE)]), f"Look, {FORMS[form](VALUE)} is nice.")
    assert decision is not None
    assert (decision.action, decision.threat) == ("reject", Threat.CRITICAL)
    assert VALUE not in decision.model_dump_json()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("beside", ["seven houses", "&#99999999999999999999999;", "100 % of it", "a" * 40, "a\u200b"])
async def test_a_secret_is_found_whatever_strings_stand_beside_it(form: str, beside: str) -> None:
    """All strings of a request are looked at in a row first: that may cost time, and nothing else."""
    guard = CanaryText([SecretStr(VALUE), CanaryDigest.of("another-Secret-77")])
    payload: dict[str, Any] = {"names": [beside, {"value": FORMS[form](VALUE)}], beside: [beside], "number": 7}
    decision = await guard.check(GuardRequest(edge=Edge.TOOL_CALL, payload=payload))
    assert decision is not None
    assert decision == guard.judge(payload, Context())
    assert decision.action == "reject"
    payload["names"].pop()
    assert await guard.check(GuardRequest(edge=Edge.TOOL_CALL, payload=payload)) is None


@pytest.mark.parametrize(
    "form", ["as it is", "zero width", "percent", "entities", "hex", "Base64", "Base64 twice", "percent of Base64"]
)
async def test_a_digest_finds_its_value_where_a_word_starts(form: str) -> None:
    guard = CanaryText([CanaryDigest.of(VALUE)])
    assert await decided(guard, f"Look, {FORMS[form](VALUE)} is nice.") is not None
    assert await decided(guard, f"token={VALUE}&x=1") is not None


@pytest.mark.parametrize("secret", [SecretStr(VALUE), CanaryDigest.of(VALUE), SecretStr(""), SecretStr("abc")])
async def test_other_texts_pass(secret: SecretStr | CanaryDigest) -> None:
    guard = CanaryText([secret])
    for text in ("", "abc", VALUE[:-1], "Wren and Kestrel are birds", base64.b64encode(b"something else").decode()):
        assert await decided(guard, text) is None


def test_a_secret_is_not_shown_by_what_holds_it() -> None:
    assert VALUE not in repr(Canaries([SecretStr(VALUE)]))
    assert VALUE not in repr(CanaryDigest.of(VALUE))


def test_the_secrets_of_settings_are_collected() -> None:
    class Inner(BaseModel):
        env: dict[str, SecretStr] = {"TOKEN": SecretStr("inner-secret")}

    class Outer(BaseModel):
        key: SecretStr | None = SecretStr("outer-secret")
        missing: SecretStr | None = None
        plain: str = "not-a-secret"
        database: SecretStr = SecretStr("postgresql://app:db-secret-1@host/app")
        servers: list[Inner] = [Inner()]

    values = {secret.get_secret_value() for secret in secrets_of(Outer())}
    assert values == {"outer-secret", "inner-secret", "postgresql://app:db-secret-1@host/app", "db-secret-1"}


async def test_a_payload_of_absurd_depth_is_rejected() -> None:
    payload: dict[str, Any] = {"a": "text"}
    for _ in range(200):
        payload = {"a": payload}
    decision = await SecretText().check(GuardRequest(edge=Edge.TOOL_CALL, payload=payload))
    assert decision is not None
    assert decision.action == "reject"
