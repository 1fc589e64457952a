"""The very bytes on stdout: protocol and nothing else, and the same for what must not be told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.house import House, Token, fresh_key
from tests.support.onboarding import contact, onboarding
from tests.support.raw import RawFace, raw_face, raw_program


def test_stdout_carries_protocol_and_nothing_else(
    shared: House, issue: Callable[..., Token]
) -> None:
    with raw_program(shared, issue("operator,support", "acme")) as face:
        face.greet()
        face.answered("tools/list", {})
        face.call("whoami")
        face.call("tenant_get", tenant=5)
        face.call("tenant_onboard", **onboarding("acme"))
        face.call(
            "record_create",
            tenant="acme",
            collection="contacts",
            values=contact(),
            idempotency_key=fresh_key(),
        )
        face.call("nothing_of_that_name")
        face.answered("no/such/method", {})
        assert face.hang_up() == 0

        messages = [json.loads(line) for line in face.lines]

    assert [message["id"] for message in messages] == list(range(1, 9))
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    assert all(len({"result", "error"} & message.keys()) == 1 for message in messages)


def test_unknown_and_unlisted_tools_are_answered_with_the_same_bytes(
    shared: House, issue: Callable[..., Token]
) -> None:
    with raw_face(shared, issue("viewer", "acme")) as face:
        face.greet()
        told = {
            _without_id(face, "nothing_of_that_name"),
            _without_id(face, "tenant_onboard"),
            _without_id(face, "tenant_onboard", tenant=7, surplus="x"),
            _without_id(face, "tenant_onboard", **onboarding("acme")),
            _without_id(face, "record_query", tenant="acme", collection="contacts"),
        }

    assert len(told) == 1


def test_an_absent_and_a_foreign_object_are_answered_with_the_same_bytes(
    shared: House, issue: Callable[..., Token]
) -> None:
    with raw_face(shared, issue("support", "acme")) as face:
        face.greet()
        for tool, named in (
            ("tenant_get", [{"tenant": "globex"}, {"tenant": "nobody"}]),
            (
                "record_query",
                [
                    {"tenant": "globex", "collection": "contacts"},
                    {"tenant": "nobody", "collection": "contacts"},
                    {"tenant": "acme", "collection": "undeclared"},
                ],
            ),
        ):
            assert len({_without_id(face, tool, **one) for one in named}) == 1, tool


def test_a_line_that_is_no_request_leaves_the_connection_usable(
    shared: House, issue: Callable[..., Token]
) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    nested = b'{"jsonrpc":"2.0","id":"deep","method":"tools/call","params":{"name":"whoami",'
    nested += b'"arguments":{"x":' + deep + b"}}}"
    with raw_face(shared, issue("viewer", "acme")) as face:
        face.greet()
        for line in (b"no json at all", b"{}", b"\xff\xfe", nested):
            face.send(line)
        number = face.request("tools/call", {"name": "whoami", "arguments": {}})

        message: dict[str, Any] = {}
        for _ in range(6):
            message = json.loads(face.next_line())
            if message.get("id") == number:
                break
            assert "result" not in message, message
        assert message["result"]["structuredContent"]["outcome"] == "done"


def _without_id(face: RawFace, tool: str, **arguments: object) -> bytes:
    line = face.answered("tools/call", {"name": tool, "arguments": arguments})
    number = json.loads(line)["id"]
    cut = line.replace(f'"id":{number}'.encode(), b'"id":0')
    assert cut != line or number == 0, line
    return cut
