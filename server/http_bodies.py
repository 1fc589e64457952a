"""Bodies of requests: their size, their nesting, before anything parses them. Knows no protocol above JSON."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Message, Receive

_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OPEN: Final = b"[{"
_NO_BRACKET: Final = bytes(one for one in range(256) if one not in b"[]{}")


class BodyTooLarge(Exception):
    """The body goes past its bound."""


class ClientGone(Exception):
    """The client left before its body was whole."""


async def read_body(receive: Receive, declared: bytes | None, bytes_max: int) -> bytes:
    """The whole body. Raises BodyTooLarge, as soon as it is known to be; ClientGone."""
    # What is no number never comes this far: the parser has refused it.
    if declared is not None and int(declared) > bytes_max:
        raise BodyTooLarge
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > bytes_max:
            raise BodyTooLarge
        return body
    return await _rest(receive, body, bytes_max)


async def _rest(receive: Receive, first: bytes, bytes_max: int) -> bytes:
    parts = bytearray(first)
    while True:
        if len(parts) > bytes_max:
            raise BodyTooLarge
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts += message.get("body", b"")
        if not message.get("more_body", False):
            break
    if len(parts) > bytes_max:
        raise BodyTooLarge
    return bytes(parts)


def nests_within(body: bytes, depth_max: int) -> bool:
    """Whether a text of JSON in UTF-8 nests no deeper. False for other encodings, which hide it."""
    if b"\x00" in body:
        # UTF-16 and UTF-32, which some parsers take.
        return False
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return True
    depth = 0
    for bracket in _brackets(body):
        if bracket in _OPEN:
            depth += 1
            if depth > depth_max:
                return False
        else:
            depth -= 1
    return True


def _brackets(body: bytes) -> bytes:
    """The brackets that are no part of a text."""
    # Where no quote is escaped, every second piece between quotes is a text.
    plain = b"".join(body.split(b'"')[::2]) if b"\\" not in body else _TEXT.sub(b"", body)
    return plain.translate(None, _NO_BRACKET)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, then what the client does after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
