"""Asks one other detector about texts. Run inside its environment: it imports nothing of Chimera.

``python peer_adapters.py ADAPTER [FOLDER]`` reads lines ``{"id", "text"}`` and answers each with ``{"id", "score",
"flag", "ms"}`` or ``{"id", "error"}``; before the first it says ``{"ready": true}``. ``flag`` is the detector's own
yes, ``score`` is the higher the more it is sure, ``ms`` the processor time of the one call.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Score = Callable[[str], tuple[float, bool]]


def aicordon(_: str) -> Score:
    """Its local rules, for text that was fetched."""
    detector: Any = import_module("aicordon.picket").load(mode="ipi")
    grade = {"low": 1.0, "medium": 2.0, "high": 3.0}

    def score(text: str) -> tuple[float, bool]:
        report = detector.check(text)
        return (grade[report.severity] if report.flagged else 0.0), bool(report.flagged)

    return score


def bastion(_: str) -> Score:
    """Its heuristics; the threshold is that of its configuration."""
    stage: Any = import_module("bastion_prompt_protection.stages.heuristics").HeuristicsStage()
    least: float = import_module("bastion_prompt_protection.config").Thresholds().attack_above

    def score(text: str) -> tuple[float, bool]:
        risk = float(stage.run(text))
        return risk, risk >= least

    return score


def classifinder(_: str) -> Score:
    """Its patterns for prompt injections; those for secrets are another subject."""
    engine: Any = import_module("classifinder_engine")
    kinds = [pattern.id for pattern in engine.PATTERN_REGISTRY if pattern.provider == "prompt_injection"]

    def score(text: str) -> tuple[float, bool]:
        found = engine.scan(text, types=kinds, min_confidence=0.0, include_context=False)
        sure = max((float(finding.confidence) for finding in found), default=0.0)
        return sure, sure >= 0.5

    return score


def clawguard(_: str) -> Score:
    """All its patterns."""
    scanner: Any = import_module("clawguard_core").Scanner()

    def score(text: str) -> tuple[float, bool]:
        result = scanner.scan(text)
        return float(result.risk_score), bool(result.detected)

    return score


def llamafirewall(_: str, only: str = "") -> Score:
    """The default patterns of its regex scanner."""
    scanner: Any = import_module("llamafirewall.scanners.regex_scanner").RegexScanner()
    message: Any = import_module("llamafirewall.llamafirewall_data_types").UserMessage
    if only:
        scanner.patterns = {only: scanner.patterns[only]}
    loop = asyncio.new_event_loop()

    def score(text: str) -> tuple[float, bool]:
        found = loop.run_until_complete(scanner.scan(message(content=text)))
        return float(found.score), float(found.score) >= 0.5

    return score


def llamafirewall_injection(_: str) -> Score:
    """The one of these patterns that looks for injections."""
    return llamafirewall(_, "Prompt injection")


def nemo(_: str) -> Score:
    """Its YARA files, as its action ``injection_detection`` asks them; importing the toolkit itself is not needed."""
    found = find_spec("nemoguardrails")
    place = Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else Path()
    return _yara(sorted((place / "library" / "injection_detection" / "yara_rules").glob("*.yara")))


def plumblint(_: str) -> Score:
    """Its verdict."""
    detector: Any = import_module("plumblint")

    def score(text: str) -> tuple[float, bool]:
        found = detector.scan(text)
        return float(found.score), found.verdict == "injection"

    return score


def toolwall(_: str) -> Score:
    """Everything but its judge; the threshold is that of its policy."""
    detector: Any = import_module("toolwall.detect").CompositeDetector(use_judge=False)
    least: float = import_module("toolwall.policy").Policy.model_fields["response_ipi_threshold"].default

    def score(text: str) -> tuple[float, bool]:
        risk = float(detector.score(text)[0])
        return risk, risk >= least

    return score


def vigil(folder: str) -> Score:
    """YARA rules from a folder."""
    return _yara(sorted(Path(folder).glob("*.yar")))


def _yara(paths: list[Path]) -> Score:
    if not paths:
        raise FileNotFoundError("there are no YARA files")
    yara: Any = import_module("yara")
    rules: Any = yara.compile(filepaths={path.stem: str(path) for path in paths})

    def score(text: str) -> tuple[float, bool]:
        count = len(rules.match(data=text.encode("utf-8", "surrogatepass")))
        return float(count), count > 0

    return score


def _answer(score: Score, line: str) -> dict[str, Any]:
    asked = json.loads(line)
    begin = time.process_time()
    try:
        value, flag = score(asked["text"])
    except Exception as error:  # noqa: BLE001 - whatever a detector raises is counted by who reads this
        return {"id": asked["id"], "error": type(error).__name__}
    return {"id": asked["id"], "score": value, "flag": flag, "ms": (time.process_time() - begin) * 1e3}


def main(adapter: str, folder: str = "") -> None:
    """Answer until the input ends. What a detector prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    score: Score = globals()[adapter](folder)
    answers.write('{"ready": true}\n')
    for line in sys.stdin:
        answers.write(json.dumps(_answer(score, line)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
