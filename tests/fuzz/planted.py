"""A planted bug, to see that fuzzing finds one: three characters in a row, each in a branch of its own."""

from collections.abc import Callable


def planted(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """A target that fails on what begins with ``<~Q``; of random bytes, one in sixteen million does."""

    def run(data: bytes) -> None:
        target(data)
        if len(data) > 3 and data[0] == 0x3C:  # noqa: SIM102 - a branch for each
            if data[1] == 0x7E:  # noqa: SIM102
                if data[2] == 0x51:
                    raise RuntimeError("the planted bug")

    return run
