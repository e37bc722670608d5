"""Chimera as an MCP server: missions and their state, tools, and the questions that wait, for other agents."""
