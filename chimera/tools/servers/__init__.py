"""First-party MCP servers. Each is a program of its own: ``python -m chimera.tools.servers.trends`` and ``.files``.

They start in a fraction of a second, because every mission starts them: nothing here imports a framework before a
call needs it.
"""
