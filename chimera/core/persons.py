"""When two names mean one person."""


def same_person(one: str, other: str) -> bool:
    """Whether two names mean one person, as far as a name tells: capitals and spaces make nobody else."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
