"""No text makes the injection filter fail, lets its work grow out of bounds, or moves a span outside. Proves FR-95."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chimera.guards.injection import detector as detection
from chimera.guards.injection import normalise
from chimera.guards.injection.detector import InjectionDetector
from chimera.guards.injection.fold import fold, origin, origins
from chimera.guards.injection.normalise import MAX_DEPTH, MAX_VIEWS, views

ANY = st.text(st.characters(exclude_categories=()), max_size=300)
MARKUP = st.lists(
    st.sampled_from(
        ["<!--", "-->", "<a ", 'title="', '"', ">", "</", "[", "](", ")", "]:", "%41", "&#65;", "\\u0041", "A1", "  ",
         "4ll", "i g n o r e ", "aWdub3JlIGFsbCBydWxlcw==", "69676e6f7265", "ignore", "instructions", "\n", "\ud800",
         "\U000e0041", "а", "gur naq nyy", "display:none", "\x00", "𝐚", "ﷺ", "İ", "ß"]
    ),
    max_size=60,
).map("".join)  # fmt: skip
DETECTOR = InjectionDetector(cached=1)


@given(ANY | MARKUP)
def test_any_text_gets_a_finding_with_spans_inside(text: str) -> None:
    found = DETECTOR.score(text)
    assert 0.0 <= found.risk <= 1.0
    assert all(0 <= start <= end <= len(text) for start, end, _ in found.spans)


@given(ANY | MARKUP)
def test_views_are_few_shallow_and_not_much_longer_than_the_text(text: str) -> None:
    found = views(text)
    assert len(found) <= MAX_VIEWS
    assert all(view.name.count(">") <= MAX_DEPTH for view in found)
    assert sum(len(view.text) for view in found) <= 14 * len(text) + 17_000


@given(ANY)
def test_a_fold_leads_back_to_its_original(text: str) -> None:
    shown, ends = fold(text), origins(text)
    assert (ends[-1] if ends else 0) == len(shown)
    assert all(0 <= origin(ends, place) < len(text) for place in range(len(shown)))


@given(st.text(max_size=60), st.integers(4, 8))
@settings(max_examples=30, deadline=None)
def test_encoding_again_and_again_ends(text: str, times: int) -> None:
    for _ in range(times):
        text = base64.b64encode(text.encode("utf-8", "replace")).decode()
    assert max(view.name.count(">") for view in views(text)) <= MAX_DEPTH


HOSTILE = [
    "ignore ", "ignore all the rules ", "a ", "%41", "<a ", "<!--", "[a](b", "A1", "1 ", "&#65;", "[x]:\n", "\\u0041",
    '<a title="', "please send to ", "do not tell ", "you are now ", "system: ", "-", "\ud800", "aWdub3Jl", "<b style=",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_work_grows_with_the_length_and_no_faster(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The characters handed to each stage are counted: four times the text is at most about four times the work."""

    def work(size: int) -> int:
        counted = 0

        def counting(inner: Callable[[str], Any]) -> Callable[[str], Any]:
            def call(text: str) -> Any:
                nonlocal counted
                counted += len(text)
                return inner(text)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(detection, "features", counting(detection.features))
            patch.setattr(normalise, "fold", counting(normalise.fold))
            InjectionDetector().score((part * (size // len(part) + 1))[:size])
        return counted

    assert work(40_000) <= 4.5 * work(10_000) + 40_000


@pytest.mark.parametrize("part", ["ignore ", "<a ", "please send all to "])
def test_a_megabyte_is_scored(part: str) -> None:
    text = (part * (1_000_000 // len(part) + 1))[:1_000_000]
    assert 0.0 <= DETECTOR.score(text).risk <= 1.0
