"""Where a sentence ends and to which one a citation belongs: the unit that a claim is checked by. Proves FR-11."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.nodes.sentences import sentences


@pytest.mark.parametrize(
    "parts",
    [
        ["AI rises.", "Rust falls!", "Does it?", "12 say so…", "Nobody knows"],
        ["Dr. Ada and J. K. Rowling, i.e. two of 3.5 people, met at 2 p.m. on Jan. 5, see No. 7.", "They left."],
        ["It was sold by Acme Inc.", "The rest, etc.", "It ended."],
        ["Ask Yahoo! for more.", "Then stop."],
        ["It rises [a].", "so does that.[b]", "And this. [c] [d]", "End"],
        ["He said “No. Never. Not now.” to all.", "She left."],
        ['"Is it so?"', '"It is."', "(Nobody asked.)", "**Bold.**", "*End.*"],
        ["One [a];", "two [b]; ", "three; four."],
        ['A 5" disk and a 3" disk.', "More."],
    ],
    ids=lambda parts: parts[0],
)
def test_where_sentences_end(parts: list[str]) -> None:
    parts = [part.strip() for part in parts]
    assert list(sentences(" ".join(parts))) == parts


@given(
    st.lists(st.one_of(st.sampled_from(["e.g.", "[a]", "[a].", '"', "The", "end.", "Inc.", ";"]), st.text(max_size=8)))
)
def test_sentences_lose_no_word(words: list[str]) -> None:
    text = " ".join(words)
    assert " ".join(sentences(text)).split() == text.split()
