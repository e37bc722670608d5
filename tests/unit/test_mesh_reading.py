"""Proves that what servers write is read in bounded memory, however it is cut into pieces, and that only messages the
client session can take get through.
"""

import codecs
import itertools
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import ErrorData

from chimera.tools.mesh.bodies import events, whole
from chimera.tools.mesh.faults import Fault, fault_of
from chimera.tools.mesh.lines import Flooded, line_encoding
from chimera.tools.mesh.screen import Kind, answered_id, kind_of

LIMIT = 200


def message(**fields: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode()


RESULT = message(id=3, result={"text": "ä☃"})
LONG = message(id=4, result={"text": "x" * LIMIT})
LONG_ID_LAST = b'{"result":{"text":"%s"},"jsonrpc":"2.0","id":5}' % (b"x" * LIMIT)
LONG_REQUEST = message(id=6, method="ping", params={"text": "x" * LIMIT})
NOISE = [b"hello", b"", b"\xff\xfe", b"{}", b"[1]", b"{" * 300, message(method="notifications/unheard"), LONG_REQUEST]


def faults(messages: list[dict[str, Any]]) -> dict[int, Fault | None]:
    return {found["id"]: fault_of(ErrorData(**found["error"])) for found in messages if "error" in found}


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(st.lists(st.sampled_from([RESULT, LONG, LONG_ID_LAST, *NOISE]), max_size=8), st.lists(st.integers(0, 5_000)))
def test_lines_come_out_the_same_however_the_output_is_cut(lines: list[bytes], cuts: list[int]) -> None:
    decoder = codecs.getincrementaldecoder(line_encoding(LIMIT))()
    text = "".join(decoder.decode(piece) for piece in pieces(b"".join(line + b"\n" for line in lines), cuts))
    found = [json.loads(line) for line in text.splitlines()]
    ids = {RESULT: 3, LONG: 4, LONG_ID_LAST: 5}
    assert [item["id"] for item in found] == [ids[line] for line in lines if line in ids]
    assert all(fault is Fault.TOO_LARGE for fault in faults(found).values())
    assert all(item["result"] == {"text": "ä☃"} for item in found if item["id"] == 3)


def test_a_line_without_end_takes_no_more_memory_than_the_limit_and_then_ends_the_session() -> None:
    decoder = codecs.getincrementaldecoder(line_encoding(1_000_000))()
    chunk = b"x" * 65_536
    tracemalloc.start()
    try:
        with pytest.raises(Flooded):
            "".join(decoder.decode(piece) for piece in itertools.repeat(chunk))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_an_unreadable_answer_becomes_a_fault_for_its_call() -> None:
    decoder = codecs.getincrementaldecoder(line_encoding(LIMIT))()
    found = [json.loads(decoder.decode(b'{"jsonrpc":"2.0","id":8,"result":{"a":\n'))]
    assert faults(found) == {8: Fault.MALFORMED}


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (RESULT, Kind.ANSWER),
        (message(id="12", result={}), Kind.ANSWER),
        (message(id=1, error={"code": -1, "message": "no"}), Kind.ANSWER),
        (message(id="twelve", result={}), Kind.OTHER),
        (message(method="notifications/progress", params={"progressToken": 1, "progress": 0.5}), Kind.OTHER),
        (message(method="notifications/unheard"), Kind.OTHER),
        (message(id=1, method="ping"), Kind.REQUEST),
        (message(id=1, method="unheard/of"), Kind.OTHER),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":"\\ud800"}}', Kind.BROKEN),
        (b"[" * 100_000, Kind.BROKEN),
    ],
)
def test_messages_are_told_apart(raw: bytes, kind: Kind) -> None:
    assert kind_of(raw) is kind


def test_the_id_is_found_at_either_end_but_not_inside_and_not_in_a_request() -> None:
    assert answered_id(LONG[:50], LONG[-50:]) == 4
    assert answered_id(LONG_ID_LAST[:50], LONG_ID_LAST[-50:]) == 5
    assert answered_id(LONG_REQUEST[:50], LONG_REQUEST[-50:]) is None
    inside = b'{"result":{"rows":[{"id":1},{"id":2}],"x":{"id":3}}'
    assert answered_id(inside, inside) is None


def test_a_server_cannot_forge_a_fault() -> None:
    assert fault_of(ErrorData(code=-32098, message="x", data={"chimera": "not sent"})) is None


async def chunks(parts: list[bytes], failure: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if failure is not None:
        raise failure


async def read_events(
    parts: list[bytes], failure: Exception | None = None, request: int | None = 3
) -> list[dict[str, Any]]:
    out = b"".join([event async for event in events(chunks(parts, failure), LIMIT, request)])
    data = [line.removeprefix(b"data: ") for line in out.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(item) for item in data if item]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("step", [1, 2, 7, 1_000])
async def test_events_come_out_the_same_however_the_stream_is_cut(end: bytes, step: int) -> None:
    first, second = RESULT[:20], RESULT[20:]
    lines = [
        b": comment",
        b"",
        b"event: message",
        b"data: " + first + second,
        b"",
        b"event: other",
        b"data: zz",
        b"",
        b"",
    ]
    stream = end.join(lines)
    found = await read_events([stream[at : at + step] for at in range(0, len(stream), step)])
    assert found[0] == json.loads(RESULT)
    assert faults(found) == {3: Fault.LOST}, "a stream that ends by itself is unfinished"
    assert len(found) == 2


@pytest.mark.parametrize(
    ("stream", "failure", "fault"),
    [
        (b"data: " + b"x" * LIMIT + b"x", None, Fault.TOO_LARGE),
        (b"data: " + b"x" * LIMIT + b"x\n\n", None, Fault.TOO_LARGE),
        (b"data: {nonsense\n\n", None, Fault.MALFORMED),
        (b"data: {", httpx.ReadError("broken"), Fault.LOST),
        (b"", None, Fault.LOST),
    ],
)
async def test_a_broken_stream_ends_with_a_fault(stream: bytes, failure: Exception | None, fault: Fault) -> None:
    assert faults(await read_events([stream], failure)) == {3: fault}


async def test_a_numbered_stream_is_left_to_be_resumed() -> None:
    assert await read_events([b"id: 1\ndata: \n\n"]) == []
    with pytest.raises(httpx.ReadError):
        await read_events([b"id: 1\ndata: \n\n"], httpx.ReadError("broken"))


async def test_the_servers_own_stream_loses_bad_events_only() -> None:
    good = b"data: " + message(id=1, method="ping") + b"\n\n"
    assert len(await read_events([b"data: {nonsense\n\n" + good], request=None)) == 1


async def test_a_message_that_is_no_answer_does_not_spoil_the_answer_after_it() -> None:
    before = b"data: " + message(method="notifications/unheard") + b"\n\n"
    found = await read_events([before + b"data: " + RESULT + b"\n\n"])
    assert found[0] == json.loads(RESULT)


@pytest.mark.parametrize(
    ("body", "failure", "fault"),
    [
        (LONG, None, Fault.TOO_LARGE),
        (b"{", None, Fault.MALFORMED),
        (RESULT[:9], httpx.ReadError("broken"), Fault.LOST),
    ],
)
async def test_a_broken_body_becomes_a_fault(body: bytes, failure: Exception | None, fault: Fault) -> None:
    out = [part async for part in whole(chunks([body[:9], body[9:]], failure), LIMIT, 3)]
    assert faults([json.loads(b"".join(out))]) == {3: fault}


async def test_a_good_body_passes_as_it_is() -> None:
    assert [part async for part in whole(chunks([RESULT[:9], RESULT[9:]]), LIMIT, 3)] == [RESULT]
