"""The tools that agents use: the mesh of MCP servers, our own servers, feeds and artifacts."""
