"""``chimera bench mesh``: what a tool call costs through the mesh, and what is lost while servers fail."""

import chimera.core.jsonschemas  # noqa: F401 # pyright: ignore[reportUnusedImport] - before the SDK imports that library with all that takes seconds
