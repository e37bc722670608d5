"""Common English words and those of instructions: they tell a decoded text from noise, and where spaces were."""

from functools import lru_cache

COMMON = frozenset(
    """about above access account act action admin after again all allow also always and another answer any anything
    approve are assistant attacker bank because been before begin below bypass call code command complete confidential
    content contents context could credentials current data database delete details developer directly disable
    disregard document does done email emails ensure every everything execute external file files filter filters first
    follow following for forget format forward from full funds give given guidelines have hello here hidden how human
    ignore immediately important include information input instead instruction instructions into internal keep key keys
    language last like limits list local make message messages mode model money must name need never new next not note
    nothing now only order other output override password passwords pay payment personal please policy pretend previous
    print private prompt prompts provide question read records remove repeat reply report request respond response
    restrictions results return reveal review role rules run safety save say secret security send service should show
    skip start steps stop summary system task tasks tell text than that the their them then there these they this
    those token tool tools transfer translate until update upload use user users using wallet was what when where
    which will with without word words work world write you your""".split()  # noqa: SIM905 - a list of 200 lines else
)
"""Words of three letters and more."""

_SHORT = frozenset(
    {
        "a",
        "i",
        "to",
        "of",
        "in",
        "is",
        "it",
        "on",
        "or",
        "by",
        "be",
        "do",
        "if",
        "me",
        "my",
        "no",
        "so",
        "up",
        "us",
        "as",
        "at",
        "an",
        "ai",
        "we",
    }
)
_LONGEST = 14
_MAX = 2_000


def segmented(run: str) -> str:
    """A run of letters without spaces, cut into known words where that is possible; what is unknown stays together."""
    if len(run) > _MAX:
        return run
    letters = run.lower()
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(letters) + 1):
        options = [(best[end - 1][0] + 3.0, end - 1)]
        for start in range(max(0, end - _LONGEST), end):
            word = letters[start:end]
            if word in COMMON or word in _SHORT:
                options.append((best[start][0] + 1.0, start))
        best.append(min(options))
    words: list[str] = []
    end = len(run)
    known_before = True
    while end:
        start = best[end][1]
        known = letters[start:end] in COMMON or letters[start:end] in _SHORT
        if words and not known and not known_before:
            words[-1] = run[start:end] + words[-1]
        else:
            words.append(run[start:end])
        known_before, end = known, start
    return " ".join(reversed(words))


segmented = lru_cache(maxsize=256)(segmented)
