"""The jsonschema library without the checkers of formats, of which Chimera uses none.

It imports every checker that is installed, and one of them (``rfc3987_syntax``, for IRIs) compiles a grammar when it is
imported: a second or two that every command would wait for.
"""

import sys

_SLOW = "rfc3987_syntax"
_absent = _SLOW not in sys.modules
if _absent:
    sys.modules[_SLOW] = None  # pyright: ignore[reportArgumentType] - Python's own way to say that it is not there

from jsonschema import Draft202012Validator, validators  # noqa: E402
from jsonschema.exceptions import SchemaError, ValidationError  # noqa: E402

if _absent:
    del sys.modules[_SLOW]

__all__ = ["Draft202012Validator", "SchemaError", "ValidationError", "validators"]
