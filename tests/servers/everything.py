"""Every tool, prompt and resource that the MCP project's conformance suite asks a server for, behind our own transport.

``everything.py`` prints the URL. What the suite's scenarios call is made with the SDK's FastMCP; what carries it (the
ASGI part with its doors, sessions and limits) is what carries Chimera's own server.
"""

import asyncio
import base64
import socket
from typing import Any

import uvicorn
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.prompts.base import UserMessage
from mcp.server.session import ServerSession
from pydantic import AnyUrl, BaseModel, Field
from starlette.applications import Starlette
from starlette.middleware import Middleware

from chimera.server.bearer import Everybody
from chimera.server.callers import Caller
from chimera.server.doors import LOOPBACK, Doors
from chimera.server.mcp.mounting import mcp_part

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOUND = base64.b64encode(b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00").decode()
LIMIT = 100_000
Asked = Context[ServerSession, None, Any]
made = FastMCP("everything")


def text(said: str) -> types.TextContent:
    return types.TextContent(type="text", text=said)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PIXEL, mimeType="image/png")


def embedded(uri: str, said: str = "This is an embedded resource content.") -> types.EmbeddedResource:
    found = types.TextResourceContents(uri=AnyUrl(uri), mimeType="text/plain", text=said)
    return types.EmbeddedResource(type="resource", resource=found)


@made.tool(structured_output=False)
def test_simple_text() -> Any:
    """Text."""
    return [text("This is a simple text response for testing.")]


@made.tool(structured_output=False)
def test_image_content() -> Any:
    """An image."""
    return [image()]


@made.tool(structured_output=False)
def test_audio_content() -> Any:
    """A sound."""
    return [types.AudioContent(type="audio", data=SOUND, mimeType="audio/wav")]


@made.tool(structured_output=False)
def test_embedded_resource() -> Any:
    """A resource."""
    return [embedded("test://embedded-resource")]


@made.tool(structured_output=False)
def test_multiple_content_types() -> Any:
    """Several kinds."""
    return [text("Multiple content types test:"), image(), embedded("test://mixed-content-resource")]


@made.tool(structured_output=False)
async def test_tool_with_logging(context: Asked) -> Any:
    """Logs while it runs."""
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.info(said)
        await asyncio.sleep(0.05)
    return [text("logged")]


@made.tool(structured_output=False)
def test_error_handling() -> Any:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@made.tool(structured_output=False)
async def test_tool_with_progress(context: Asked) -> Any:
    """Tells of progress."""
    for done in (0, 50, 100):
        await context.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return [text("done")]


@made.tool(structured_output=False)
async def test_sampling(prompt: str, context: Asked) -> Any:
    """Asks the client's model."""
    message = types.SamplingMessage(role="user", content=text(prompt))
    found = await context.session.create_message([message], max_tokens=100, related_request_id=context.request_id)
    return [text(f"LLM response: {getattr(found.content, 'text', '')}")]


class Person(BaseModel):
    """What the client's user is asked."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """Primitive values with defaults."""

    name: str = Field(default="John Doe")
    age: int = Field(default=30)
    score: float = Field(default=95.5)
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(default=True)


@made.tool(structured_output=False)
async def test_elicitation(message: str, context: Asked) -> Any:
    """Asks the client's user."""
    found = await context.elicit(message, Person)
    return [text(f"User response: {found.model_dump_json()}")]


@made.tool(structured_output=False)
async def test_elicitation_sep1034_defaults(context: Asked) -> Any:
    """Asks with defaults."""
    found = await context.elicit("Please review", Defaults)
    return [text(f"Elicitation completed: {found.model_dump_json()}")]


ENUMS: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {
        "type": "string",
        "oneOf": [{"const": f"value{n}", "title": f"Option {n}"} for n in ("1", "2", "3")],
    },
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {
        "type": "array",
        "items": {"anyOf": [{"const": f"value{n}", "title": f"Choice {n}"} for n in ("1", "2", "3")]},
    },
}


@made.tool(structured_output=False)
async def test_elicitation_sep1330_enums(context: Asked) -> Any:
    """Asks with enumerations."""
    asked: dict[str, Any] = {"type": "object", "properties": ENUMS, "required": []}
    found = await context.session.elicit_form("Choose", asked, related_request_id=context.request_id)
    return [text(f"Elicitation completed: {found.action}")]


@made.tool(structured_output=False)
def json_schema_2020_12_tool() -> Any:
    """Its schema has keywords of JSON Schema 2020-12."""
    return [text("ok")]


JSON_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}
for _tool in made._tool_manager.list_tools():  # pyright: ignore[reportPrivateUsage] - no other way to give a schema
    if _tool.name == "json_schema_2020_12_tool":
        _tool.parameters = JSON_SCHEMA


@made.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """Text."""
    return "This is the content of the static text resource."


@made.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """Bytes."""
    return base64.b64decode(PIXEL)


@made.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    """Something to subscribe to."""
    return "Watched resource content"


@made.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:  # noqa: A002 - the suite's name
    """By its id."""
    return f'{{"id": "{id}", "templateTest": true, "data": "Data for ID: {id}"}}'


@made.prompt()
def test_simple_prompt() -> str:
    """Without arguments."""
    return "This is a simple prompt for testing."


@made.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """With arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@made.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite's name
    """With a resource."""
    return [UserMessage(embedded(resourceUri)), UserMessage("Please process the embedded resource above.")]


@made.prompt()
def test_prompt_with_image() -> list[UserMessage]:
    """With an image."""
    return [UserMessage(image()), UserMessage("Please analyze the image above.")]


sdk = made._mcp_server  # pyright: ignore[reportPrivateUsage] - the server that FastMCP wraps


@sdk.set_logging_level()
async def level(_: types.LoggingLevel) -> None:
    """Take any level."""


@sdk.completion()
async def complete(*_: Any) -> types.Completion:
    """Nothing to complete with."""
    return types.Completion(values=[], total=0, hasMore=False)


@sdk.subscribe_resource()
async def subscribe(_: AnyUrl) -> None:
    """Take note."""


@sdk.unsubscribe_resource()
async def unsubscribe(_: AnyUrl) -> None:
    """Take note."""


def main() -> None:
    """Serve until the process is ended."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        caller = Caller("default", "suite", "service")
        part = mcp_part(sdk, lambda served: Everybody(served, caller), LIMIT)
        doors = Middleware(
            Doors,
            hosts=LOOPBACK,
            origins=[f"http://{name}:{port}" for name in LOOPBACK],
            max_bytes=LIMIT,
            open_to_all=(),
        )
        served = Starlette(routes=part.routes, lifespan=lambda _: part.opened(), middleware=[doors])
        print(f"http://127.0.0.1:{port}/mcp", flush=True)
        asyncio.run(uvicorn.Server(uvicorn.Config(served, log_level="warning")).serve([listening]))


if __name__ == "__main__":
    main()
