"""The parts of the HTTP face by themselves: options, nesting, shares of callers. No server is started."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import BadInput
from server.http_answers import Challenges, RefusalLog, metadata_paths
from server.http_bodies import BodyTooLarge, ClientGone, nests_within, read_body
from server.http_options import (
    Bind,
    bound_names,
    parse_audience,
    parse_bind,
    parse_hosts,
    parse_origins,
)
from server.http_visits import REQUESTS_OF_ONE_MAX, Shares, TooManyRequests
from server.tokens import Unauthenticated

pytestmark = pytest.mark.slice_of(2)

JSON = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\ax'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=30,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        return 1 + max((depth(one) for one in named.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(one) for one in cast("list[object]", value)), default=0)
    return 0


@given(JSON, st.booleans())
def test_nesting_is_counted_as_a_parser_would_find_it(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    found = depth(value)
    assert nests_within(body, found)
    assert found == 0 or not nests_within(body, found - 1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_that_hides_nesting_is_refused(encoding: str) -> None:
    assert not nests_within(json.dumps([[]]).encode(encoding), 99)


def receiving(*parts: bytes, gone: bool = False) -> Callable[[], Any]:
    waiting = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1 or gone}
        for index, part in enumerate(parts)
    ]

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    return receive


@pytest.mark.anyio
async def test_a_body_is_read_up_to_its_bound_and_no_further() -> None:
    assert await read_body(receiving(b"ab", b"", b"cd"), None, 4) == b"abcd"
    assert await read_body(receiving(b"abcd"), b"4", 4) == b"abcd"
    for parts in ((b"abcde",), (b"abc", b"de"), (b"abc", b"de", b"f")):
        with pytest.raises(BodyTooLarge):
            await read_body(receiving(*parts), None, 4)
    with pytest.raises(BodyTooLarge):
        await read_body(receiving(b""), b"5", 4)
    with pytest.raises(ClientGone):
        await read_body(receiving(b"a", gone=True), b"4", 4)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8080", Bind("127.0.0.1", 8080)),
        ("localhost:0", Bind("127.0.0.1", 0)),
        ("[::1]:443", Bind("::1", 443)),
    ],
)
def test_an_address_is_read(text: str, found: Bind) -> None:
    assert parse_bind(text) == found
    assert found.loopback


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "::1:80",
             "[127.0.0.1]:80", "a.test:80", "127.0.0.1:-1", "127.0.0.1:٣"]
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--http"):
        parse_bind(text)


@pytest.mark.parametrize(
    "text",
    ["", "paybill", "/mcp", "ftp://a.test", "http://a.test/mcp", "https://a.test/?x=1",
     "https://a.test/#x", "https://u:p@a.test/", 'https://a.test/"x', "https://a.test/ x",
     "https://a.test:x/", "https://a.test/" + "x" * 600]
)  # fmt: skip
def test_what_is_no_audience_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--audience"):
        parse_audience(text)


def test_an_audience_without_tls_is_for_this_machine_alone() -> None:
    for url in ("http://localhost:8080/mcp", "http://127.0.0.1/", "http://[::1]:1/mcp"):
        assert parse_audience(url) == url


@pytest.mark.parametrize("value", ["*", "a.test:*", "A.test", "a.test/", "https://a.test", "", "é"])
def test_what_is_no_exact_host_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="--allowed-host"):
        parse_hosts([value])


@pytest.mark.parametrize("value", ["*", "null", "a.test", "https://*", "https://a.test/", "ws://a"])
def test_what_is_no_exact_origin_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="--allowed-origin"):
        parse_origins([value])


def test_the_port_of_the_scheme_may_be_left_out() -> None:
    assert "localhost" in bound_names("http", 80)
    assert "localhost" in bound_names("https", 443)
    assert "localhost" not in bound_names("http", 443)


def test_the_challenge_leads_to_the_metadata_of_the_audience() -> None:
    for audience, where in (
        ("https://a.test/mcp", "https://a.test/.well-known/oauth-protected-resource/mcp"),
        ("https://a.test/", "https://a.test/.well-known/oauth-protected-resource"),
        ("https://a.test/x/mcp", "https://a.test/.well-known/oauth-protected-resource/x/mcp"),
    ):
        ((_, told),) = Challenges(audience).headers(Unauthenticated("token_absent"))
        assert f'resource_metadata="{where}"' in told.decode()
        assert where.removeprefix("https://a.test") in metadata_paths(audience)


def test_one_callers_requests_are_bounded_and_anothers_are_not_touched() -> None:
    shares = Shares(threads_max=2, deadline_s=1.0)
    with shares.taken("one") as first:
        held = [shares.taken("one") for _ in range(REQUESTS_OF_ONE_MAX - 1)]
        assert all(one.__enter__() is first for one in held)
        with pytest.raises(TooManyRequests), shares.taken("one"):
            pytest.fail("there are enough")
        with shares.taken("other") as second:
            assert second is not first
        for one in held:
            one.__exit__(None, None, None)
    assert shares._held == {}


def test_a_flood_of_refusals_is_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog()
    with caplog.at_level("WARNING", "paybill.http"):
        for _ in range(1000):
            log.tell("token_signature")
    assert 1 <= len(caplog.records) <= 2
