"""Draw docs/demo.svg, the README's picture, from a real run of ``chimera demo``.

Usage: python scripts/picture.py    (needs the environment that ``make setup`` makes)
"""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COLUMNS = 118
LINES = 50
STYLES = {
    r"^\d\d:\d\d:\d\d": "cyan",
    r"(?<=: )(allow|approve)\b|^Done": "bold green",
    r"\[[\w.]+:\d+\]": "blue",
    r"IGNORE ALL.*|\(not a human\)|offline rules": "yellow",
}


def main() -> None:
    """Run the demo and keep its first screen."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "dumb"}
    chimera = Path(sys.executable).parent / "chimera"
    shown = subprocess.run(
        [str(chimera), "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    shown = re.sub(r"\S*/chimera/cli/sample/", "", shown)  # where this checkout happens to lie is nobody's business
    shown = re.sub(r"\S*/artifacts/\S*/", "artifacts/", shown)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ chimera demo", style="bold green"))
    for line in shown.splitlines()[:LINES]:
        shown_line = Text(line, style="bold" if line.startswith("#") else "")
        for pattern, style in STYLES.items():
            shown_line.highlight_regex(pattern, style)
        console.print(shown_line, highlight=False)
    (ROOT / "docs").mkdir(exist_ok=True)
    svg = console.export_svg(title="chimera demo")
    svg = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.DOTALL)  # a picture loads nothing from elsewhere
    (ROOT / "docs" / "demo.svg").write_text(svg.replace("Fira Code", "ui-monospace, Menlo, Consolas"), "utf-8")


if __name__ == "__main__":
    main()
