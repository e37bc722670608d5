"""Words that every request says, whatever it asks for."""


def request_weight(term: str) -> float:
    """How much a stem, or a pair of stems, tells about what is wanted: 1 for a telling one, less for others."""
    return min((WEIGHTS.get(part, 1.0) for part in term.split(" ")), default=1.0)


WEIGHTS: dict[str, float] = {}
