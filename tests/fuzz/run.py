"""``python tests/fuzz/run.py [TARGET ...] [--seconds N]``: fuzz with atheris, which looks for inputs with new paths.

Without a target all of them, one after the other. What was learned is kept in ``.cache/fuzz``, a failing input in
``.cache/fuzz/found``; ``--replay FILE`` runs one input again.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")  # there are no wheels of it for every platform
with atheris.instrument_imports(include=["chimera.guards", "planted"]):
    import fuzz_gateway
    import fuzz_policy
    import fuzz_text
    from planted import planted

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "fuzz"
Target = Callable[[bytes], None]
TARGETS: dict[str, tuple[Target, Sequence[bytes], Sequence[str], int]] = {
    "normaliser": (fuzz_text.normaliser, fuzz_text.SEEDS, fuzz_text.TOKENS, 4_096),
    "hints": (fuzz_text.hints, fuzz_text.RULE_SEEDS, fuzz_text.TOKENS, 2_048),
    "detector": (fuzz_text.detector, fuzz_text.SEEDS, fuzz_text.TOKENS, 2_048),
    "policy": (fuzz_policy.policy, fuzz_policy.POLICY_SEEDS, fuzz_policy.POLICY_TOKENS, 8_192),
    "manifests": (fuzz_policy.manifests, fuzz_policy.MANIFEST_SEEDS, fuzz_policy.MANIFEST_TOKENS, 4_096),
    "cedar": (fuzz_policy.cedar, fuzz_policy.CEDAR_SEEDS, fuzz_policy.CEDAR_TOKENS, 4_096),
    "gateway": (fuzz_gateway.gateway, fuzz_gateway.SEEDS, (), 4_096),
}
"""By name: what is run, what to begin with, words to put in, and the longest input in bytes."""


def main() -> int:
    """Fuzz; the exit code is 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="tests/fuzz/run.py", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=300, help="for each target (default: 300)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where inputs are kept")
    parser.add_argument("--replay", type=Path, help="run this one input")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices (default: another each time)")
    parser.add_argument("--plant", action="store_true", help="plant a bug, to see that it is found")
    given = parser.parse_args()
    if unknown := set(given.targets) - TARGETS.keys():
        parser.error(f"there is no target {min(unknown)}")
    names = given.targets or list(TARGETS)
    if given.replay:
        target = TARGETS[names[0]][0]
        (planted(target) if given.plant else target)(given.replay.read_bytes())
        return 0
    if len(names) == 1:
        fuzz(names[0], given.seconds, given.cache, given.seed, plant=given.plant)  # does not come back
    options = [f"--seconds={given.seconds}", f"--cache={given.cache}", f"--seed={given.seed}"]
    options += ["--plant"] if given.plant else []
    codes = [subprocess.run([sys.executable, __file__, name, *options], check=False).returncode for name in names]
    return 1 if any(codes) else 0


def fuzz(name: str, seconds: int, cache: Path, seed: int, *, plant: bool) -> None:
    """Run one target until its time is over or it failed; ends the process with 0 or with the code of libFuzzer."""
    target, seeds, tokens, longest = TARGETS[name]
    corpus, found = cache / name, cache / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, begin in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(begin)
    words = Path(tempfile.mkdtemp(prefix="chimera-fuzz")) / "words"
    words.write_text("".join(f"{_quoted(token)}\n" for token in tokens), "utf-8")
    sys.stderr.write(f"--- {name}, {seconds} s\n")
    options = [f"-max_total_time={seconds}", f"-max_len={longest}", f"-artifact_prefix={found}/{name}-", "-timeout=30"]
    options += [f"-dict={words}"] if tokens else []
    options += ["-print_final_stats=1", "-verbosity=0", "-rss_limit_mb=4096", f"-seed={seed}"]
    atheris.Setup([sys.argv[0], str(corpus), *options], planted(target) if plant else target)
    atheris.Fuzz()


def _quoted(token: str) -> str:
    """A word as libFuzzer reads it."""
    return '"' + "".join(chr(byte) if 32 < byte < 127 and chr(byte) not in '"\\' else f"\\x{byte:02X}"
                         for byte in token.encode()) + '"'  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
