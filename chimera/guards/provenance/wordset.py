"""Sets of words, written as they read."""


def wordset(text: str) -> frozenset[str]:
    """The words of a text that are parted by blanks."""
    return frozenset(text.split())
