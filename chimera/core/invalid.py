"""What is wrong with data that does not keep its contract, in the words of a message."""

from pydantic import ValidationError


def first_problem(error: ValidationError, whole: str = "") -> str:
    """The first thing that is wrong, as ``place: what``; the value itself stays out of it.

    ``whole`` names what is wrong when that is no part but the whole.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    return f"{where}: {first['msg']}" if where else first["msg"]
