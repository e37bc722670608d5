"""A streamable HTTP MCP server whose tool ``read`` takes other arguments than the one of the same name elsewhere."""

import socket
import sys
from typing import Any

import uvicorn
from mcp.server.fastmcp import FastMCP

if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    server: FastMCP[Any] = FastMCP("stranger", json_response=True)

    @server.tool()
    def read(page: int) -> str:
        """Another tool."""
        return f"page {page}"

    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error")).run(sockets=[listening])
