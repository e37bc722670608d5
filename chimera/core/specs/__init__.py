"""The specifications in ``specs/``, read by code: clauses, JSON Schemas, the ER diagram and the limits.

The Markdown files are the source. Tests compare them with the pydantic models and with the migrated database, and the
runtime takes schemas from them (``schema("TREND_ANALYSIS.output")``). Reading needs the standard library only;
``jsonschema`` is imported when a value is checked.

Every function takes an optional ``root``, a folder with the four files; the default is :func:`specs_root`.
"""

from chimera.core.specs.clauses import Clause, clauses
from chimera.core.specs.erd import Column, Diagram, Entity, erd
from chimera.core.specs.fences import Block, blocks, spec_files, specs_root
from chimera.core.specs.limits import Limit, limits
from chimera.core.specs.schemas import Example, examples, problems, schema, schema_ids

__all__ = [
    "Block",
    "Clause",
    "Column",
    "Diagram",
    "Entity",
    "Example",
    "Limit",
    "blocks",
    "clauses",
    "erd",
    "examples",
    "limits",
    "problems",
    "schema",
    "schema_ids",
    "spec_files",
    "specs_root",
]
