"""Text that a server wrote, made fit to show: cut, and without characters that steer a terminal or hide a message."""


def _visible(text: str, kept: str) -> str:
    spaced = (char if char in kept else " " if char.isspace() else char for char in text)
    return "".join(char for char in spaced if char in kept or char.isprintable())


def one_line(text: str, limit: int = 300) -> str:
    """``text`` on one line of at most ``limit`` characters."""
    line = " ".join(_visible(text[: 4 * limit], "").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def paragraph(text: str, limit: int = 4_000) -> str:
    """``text`` with its line breaks, at most ``limit`` characters."""
    return _visible(text[:limit], "\n\t").strip()
