"""MCP clients: persistent sessions with tool servers, each isolated so that a bad server harms only its own calls."""
