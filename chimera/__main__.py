"""``python -m chimera`` is ``chimera``."""

from chimera.cli.main import app

app(prog_name="chimera")
