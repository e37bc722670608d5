"""``python -m chimera.commerce.vault.building``: compile the contracts anew and write ``contracts/built.json``.

What is written depends on the sources and the compiler's version alone, so a test that compiles them again finds out
whether the bytecode that is shipped is that of the sources that are shipped. The compiler is a development dependency.
"""

import json
from typing import Any

from chimera.commerce.vault.contracts import BUILT, SOURCES, Built, source_of
from chimera.core.errors import ExtraMissing
from chimera.core.ids import digest


def compiled(name: str, source: str) -> Built:
    """A contract compiled from its source.

    Raises:
        ExtraMissing: there is no compiler.
    """
    try:
        from vyper import __version__, compile_code
    except ImportError:
        raise ExtraMissing("no Vyper compiler is installed", remedy="Install the development dependencies.") from None
    found: dict[str, Any] = compile_code(source, f"{name}.vy", output_formats=["abi", "bytecode"])
    return Built(name, digest(source), f"vyper {__version__}", found["abi"], str(found["bytecode"]))


def main() -> None:
    """Write what the shipped sources compile to."""
    all_of_them = [compiled(name, source_of(name)).plain() for name in SOURCES]
    BUILT.write_text(json.dumps(all_of_them, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
