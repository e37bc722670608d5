"""What leaves in free text: links, addresses and accounts that nobody vouches for are cut out."""

from collections.abc import Callable

from chimera.guards.provenance.tokens import Reference, references, unhidden

REMOVED = "[removed]"


def cut(text: str, vouched: Callable[[Reference], bool]) -> tuple[str, list[Reference]]:
    """The text without the references that are not vouched for, and what was cut.

    A text in which a lenient reader finds more than stands there openly is replaced by the way that he reads it.
    """
    plain = unhidden(text)
    if plain != text and len(list(references(plain))) != len(list(references(text))):
        text = plain
    gone = [found for found in references(text) if not vouched(found)]
    parts, last = list[str](), 0
    for found in gone:
        parts += [text[last : found.start], REMOVED]
        last = found.end
    return ("".join([*parts, text[last:]]) if gone else text), gone
