"""The wall before the protocol: hosts, origins, heads, bodies, slow clients. No token is needed to meet it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx2
import pytest

from server.http_protocol import HEAD_BYTES_MAX, REQUEST_S
from tests.support.house import House, Token
from tests.support.http_faces import (
    EVERYWHERE,
    FOR_HTTP,
    HttpFace,
    bearer,
    exchange,
    http_face,
    legacy_headers,
    modern_headers,
    modern_request,
    post,
)

pytestmark = pytest.mark.slice_of(2)

NAME = "paybill.test"


@pytest.fixture(scope="module")
def served(shared: House) -> Iterator[HttpFace]:
    with http_face(shared) as face:
        yield face


@pytest.fixture(scope="module")
def everywhere(shared: House) -> Iterator[HttpFace]:
    """A server that is configured for an address that others can reach."""
    named = ("--allowed-host", NAME, "--allowed-origin", f"https://{NAME}")
    with http_face(shared, *named, "--behind-proxy", bind=f"{EVERYWHERE}:0") as face:
        yield face


@pytest.fixture(scope="module")
def good(shared: House) -> Token:
    return shared.issue("viewer", "acme", bound=FOR_HTTP)


# hosts and origins -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/mcp", "/.well-known/oauth-protected-resource", "/other"])
@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "127.0.0.1:1", "localhost.evil.test"])
def test_a_host_that_is_not_ours_is_refused(
    served: HttpFace, good: Token, host: str, path: str
) -> None:
    found = post(served, good, headers={"host": host}, path=path)
    assert (found.status_code, found.json()) == (421, {"error": "host_not_allowed"})


def test_the_names_of_the_loopback_address_are_ours(served: HttpFace, good: Token) -> None:
    _, port = served.address
    for name in ("127.0.0.1", "localhost", "[::1]"):
        assert post(served, good, headers={"host": f"{name}:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "https://127.0.0.1", "http://localhost", ""]
)
def test_an_origin_that_is_not_ours_is_refused(served: HttpFace, good: Token, origin: str) -> None:
    found = post(served, good, headers={"origin": origin})
    assert (found.status_code, found.json()) == (403, {"error": "origin_not_allowed"})
    assert "access-control-allow-origin" not in found.headers


def test_our_own_origin_is_taken_and_named(served: HttpFace, good: Token) -> None:
    origin = served.url.removesuffix("/mcp")
    found = post(served, good, headers={"origin": origin})
    assert (found.status_code, found.headers["access-control-allow-origin"]) == (200, origin)


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", EVERYWHERE])
def test_on_every_address_a_host_that_is_not_configured_is_refused(
    everywhere: HttpFace, good: Token, host: str
) -> None:
    assert post(everywhere, good, headers={"host": host}).status_code == 421
    assert post(everywhere, good).status_code == 421


def test_on_every_address_an_origin_that_is_not_configured_is_refused(
    everywhere: HttpFace, good: Token
) -> None:
    for origin in ("http://evil.test", f"http://{NAME}", f"https://{NAME}:1"):
        found = post(everywhere, good, headers={"host": NAME, "origin": origin})
        assert (found.status_code, found.json()) == (403, {"error": "origin_not_allowed"})


def test_on_every_address_the_configured_names_are_taken(everywhere: HttpFace, good: Token) -> None:
    found = post(everywhere, good, headers={"host": NAME, "origin": f"https://{NAME}"})
    assert found.status_code == 200


def test_a_browser_of_an_allowed_origin_may_ask_first(everywhere: HttpFace) -> None:
    asked = {"host": NAME, "origin": f"https://{NAME}", "access-control-request-method": "POST"}
    found = httpx2.options(everywhere.local_url, headers=asked, trust_env=False)
    assert (found.status_code, found.headers["access-control-allow-methods"]) == (204, "POST")


@pytest.mark.parametrize(
    ("options", "bind", "named"),
    [
        (("--behind-proxy",), f"{EVERYWHERE}:0", "--allowed-host: is needed"),
        (("--allowed-host", NAME), f"{EVERYWHERE}:0", "--tls-cert: is needed"),
        (("--allowed-host", "*"), "127.0.0.1:0", "--allowed-host: must be"),
        (("--allowed-host", "a.test:*"), "127.0.0.1:0", "--allowed-host: must be"),
        (("--allowed-origin", "*"), "127.0.0.1:0", "--allowed-origin: must be"),
        (("--allowed-origin", "null"), "127.0.0.1:0", "--allowed-origin: must be"),
        ((), "everywhere:0", "--http: must name an IP address"),
        (("--tls-key", "/nowhere"), "127.0.0.1:0", "--tls-cert: is needed"),
    ],
)
def test_a_server_that_is_left_open_does_not_start(
    shared: House, options: tuple[str, ...], bind: str, named: str
) -> None:
    with pytest.raises(AssertionError) as told, http_face(shared, *options, bind=bind):
        pytest.fail("it must not serve")
    assert named in str(told.value)


# heads -----------------------------------------------------------------------------------------


def test_too_many_headers_are_refused(served: HttpFace, good: Token) -> None:
    found = post(served, good, headers={f"x-{number}": "1" for number in range(80)})
    assert (found.status_code, found.json()) == (431, {"error": "head_too_large"})


def test_a_header_that_is_too_long_is_refused(served: HttpFace, good: Token) -> None:
    assert post(served, good, headers={"x-long": "x" * HEAD_BYTES_MAX}).status_code == 431


def test_a_head_without_an_end_is_refused_before_it_is_held(served: HttpFace) -> None:
    first = b"POST /mcp HTTP/1.1\r\nhost: x\r\nx-long: "
    piece = b"x" * 8192

    def parts() -> Iterator[bytes]:
        yield first
        for _ in range(64):
            yield piece

    received = b""
    with socket.create_connection(served.address, timeout=30) as opened:
        try:
            for part in parts():
                opened.sendall(part)
                time.sleep(0)
            received = opened.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            received = b"HTTP/1.1 431"
    assert received.startswith(b"HTTP/1.1 431")


def test_a_second_host_is_refused(served: HttpFace) -> None:
    host = ":".join(str(part) for part in served.address).encode()
    head = b"POST /mcp HTTP/1.1\r\nhost: %s\r\nhost: evil.test\r\nconnection: close\r\n"
    assert exchange(served, head % host + b"content-length: 0\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_what_is_no_http_is_refused(served: HttpFace) -> None:
    assert exchange(served, b"\x16\x03\x01\x00\xee\x01\x00\x00\xea\r\n\r\n").startswith(
        b"HTTP/1.1 400"
    )


# bodies ----------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused(served: HttpFace, good: Token) -> None:
    found = post(served, good, content=b"x" * 400_000)
    assert (found.status_code, found.json()) == (413, {"error": "body_too_large"})


def test_a_body_in_pieces_that_is_too_large_is_refused(served: HttpFace, good: Token) -> None:
    def pieces() -> Generator[bytes]:
        for _ in range(100):
            yield b"x" * 4096

    headers = {**modern_headers("tools/call", "whoami"), **bearer(good)}
    found = httpx2.post(
        served.local_url, headers=headers, content=pieces(), timeout=30, trust_env=False
    )
    assert (found.status_code, found.json()) == (413, {"error": "body_too_large"})


def test_a_body_is_not_read_without_a_token(served: HttpFace) -> None:
    assert post(served, None, content=b"x" * 400_000).status_code == 401


@pytest.mark.parametrize("headers", [modern_headers("tools/call", "whoami"), legacy_headers()])
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"a":' * 40_000,
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b"[" * 100 + b"]" * 100 + b"}",
        json.dumps([[]] * 3).encode("utf-16"),
        b'"' + b'\\"' * 100_000 + b"[" * 100,
    ],
    ids=["arrays", "objects", "envelope", "utf-16", "open text"],
)
def test_what_nests_too_deeply_is_refused_before_it_is_parsed(
    served: HttpFace, good: Token, content: bytes, headers: dict[str, str]
) -> None:
    began = time.monotonic()
    found = post(served, good, headers=headers, content=content)
    assert found.status_code == 400
    assert time.monotonic() - began < 10
    assert post(served, good).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"id": 1}'])
def test_what_is_no_message_is_refused(served: HttpFace, good: Token, content: bytes) -> None:
    assert post(served, good, content=content).status_code == 400


def test_many_brackets_that_do_not_nest_are_taken(served: HttpFace, good: Token) -> None:
    body = modern_request("tools/call", name="whoami", arguments={"x": ["[" * 500] + [[]] * 500})
    found = post(served, good, content=json.dumps(body).encode())
    assert found.status_code == 200
    assert found.json()["result"]["isError"] is True


def test_another_content_type_is_refused(served: HttpFace, good: Token) -> None:
    found = post(served, good, headers={"content-type": "text/plain"})
    assert found.status_code == 400


# clients that are slow, or many ----------------------------------------------------------------


@pytest.mark.sweep
def test_clients_that_do_not_come_to_an_end_are_given_up(served: HttpFace, good: Token) -> None:
    host = ":".join(str(part) for part in served.address)
    head = {"host": host, **modern_headers("tools/call", "whoami"), **bearer(good)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    slow = {
        "nothing": b"",
        "half a head": b"POST /mcp HTTP/1.1\r\nhost: x\r\n",
        "half a body": f"POST /mcp HTTP/1.1\r\n{lines}content-length: 100\r\n\r\n{{".encode(),
        "half a chunk": f"POST /mcp HTTP/1.1\r\n{lines}transfer-encoding: chunked\r\n\r\n9\r\n".encode(),
    }
    began = time.monotonic()
    with ThreadPoolExecutor(len(slow)) as threads:
        answers = list(threads.map(partial(exchange, served), slow.values()))
    assert [found[:12] for found in answers] == [b"HTTP/1.1 408"] * len(slow)
    assert REQUEST_S <= time.monotonic() - began < REQUEST_S + 10
    assert post(served, good).status_code == 200


def test_one_connection_too_many_is_turned_away(shared: House, good: Token) -> None:
    with http_face(shared, "--connections-max", "2") as face, ExitStack() as stack:
        clients = [stack.enter_context(_client(face)) for _ in range(2)]
        for client in clients:
            assert client.post(face.local_url, json={}).status_code == 401
        assert exchange(face, b"").startswith(b"HTTP/1.1 503")
        assert clients[0].post(face.local_url, json={}).status_code == 401


@contextmanager
def _client(face: HttpFace) -> Generator[httpx2.Client]:
    with httpx2.Client(timeout=30, trust_env=False) as client:
        yield client


# the rest --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
def test_no_stream_and_no_session_is_offered(served: HttpFace, good: Token, method: str) -> None:
    headers = {**bearer(good), "accept": "text/event-stream"}
    found = httpx2.request(method, served.local_url, headers=headers, trust_env=False)
    assert (found.status_code, found.headers["allow"]) == (405, "POST")


def test_another_path_is_not_there(served: HttpFace, good: Token) -> None:
    for path in ("/", "/mcp/", "/MCP", "/mcp/x", "/docs"):
        assert post(served, good, path=path).status_code == 404


def test_an_answer_is_kept_by_nobody_and_sets_nothing(served: HttpFace, good: Token) -> None:
    found = post(served, good, headers={"accept-encoding": "gzip"})
    assert found.headers["cache-control"] == "no-store"
    assert not {"set-cookie", "content-encoding", "server", "access-control-allow-origin"} & set(
        found.headers
    )
