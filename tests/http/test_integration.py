"""The SaaS's own door over a real server: usage in batches, entitlements, refusals, and the document of it all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey
from jsonschema import Draft202012Validator

from control_plane.billing.providers.stripe_events import EVENT_KINDS
from control_plane.domain.canonical import instant
from control_plane.domain.outcome import Outcome, OutcomeName
from server.connection_waits import ConnectionWaits
from server.dispatch import Dispatch
from server.front import Answer, Front
from server.http_visits import CURRENT, Proven, TooManyRequests, Visit
from server.ids import RandomIds
from server.integration import (
    ROUTES,
    STATUS,
    Integration,
    TenantShares,
    retry_of,
    status_of,
    tenant_requests_max,
)
from server.integration_document import openapi
from server.service_grants import OPERATIONS, SERVICE_TTL_MAX
from server.tokens import Bound
from tests.support.house import House, Token, build_house, fresh_key, fresh_name
from tests.support.http_faces import (
    AUDIENCE,
    FOR_HTTP,
    HttpFace,
    bearer,
    http_face,
    modern_request,
    post,
)
from tests.support.onboarding import onboard
from tests.support.workers import running_worker

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "tests" / "support" / "metered_catalog"
TENANT = "acme"
EVERYTHING = ",".join(OPERATIONS)
DOCUMENT: dict[str, Any] = json.loads(openapi())


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    """A tenant on a plan with meters and limits."""
    house = build_house(tmp_path_factory.mktemp("door"), cerbos_binary, catalog=CATALOG)
    with running_worker(house):
        with house.face(house.issue("operator", TENANT)) as face:
            onboard(face, TENANT)
        yield house


@pytest.fixture(scope="module")
def served(metered: House) -> Iterator[HttpFace]:
    with http_face(metered) as face:
        yield face


@pytest.fixture(scope="module")
def service(metered: House) -> Token:
    """What a product's own service presents."""
    return metered.issue_service(EVERYTHING, TENANT, bound=FOR_HTTP)


def asked(
    served: HttpFace,
    token: Token | str | None,
    path: str,
    body: Any = None,
    method: str | None = None,
    **headers: str,
) -> httpx2.Response:
    """One request: a body makes it a POST, of JSON unless it is bytes already."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {} if body is None else {"content-type": "application/json"}
    return httpx2.request(
        method or ("GET" if body is None else "POST"),
        served.local_url.removesuffix("/mcp") + path,
        headers={**bearer(token), **kind, **named},
        content=content,
        timeout=30.0,
        trust_env=False,
    )


def events(*identities: str, **more: Any) -> list[dict[str, Any]]:
    """One event of each id, as of now, that weighs nothing."""
    now = instant(datetime.now(UTC))
    told = {"source": "gateway", "meter": "api_calls", "quantity": 0, "occurred_at": now}
    return [{**told, "id": one, **more} for one in identities]


def batch(*identities: str, **more: Any) -> dict[str, Any]:
    return {"tenant": TENANT, "events": events(*identities, **more)}


def fits(name: str, found: Any) -> None:
    """Hold an answer against a schema of the document, as a client's generator reads it."""
    schema = {**DOCUMENT, "$ref": f"#/components/schemas/{name}"}
    validator: Any = Draft202012Validator(schema)
    validator.validate(found)


# what it does ----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_batch_is_recorded_once_and_what_is_wrong_in_it_is_told(
    served: HttpFace, service: Token
) -> None:
    one, other = fresh_name("event"), fresh_name("event")
    first = asked(served, service, "/v1/usage", batch(one, other))
    again = asked(served, service, "/v1/usage", batch(one, other, meter="unheard"))
    assert (first.status_code, first.json()["result"]["accepted"]) == (200, 2)
    told = again.json()["result"]
    assert (again.status_code, told["accepted"], told["rejected"]) == (200, 0, 2)
    for found in (first, again):
        fits("usage_record.Answer", found.json())
        assert found.headers["cache-control"] == "no-store"


def test_an_event_that_comes_again_is_a_duplicate_under_any_key(
    served: HttpFace, service: Token
) -> None:
    told = batch(fresh_name("event"))
    counts = [
        asked(served, service, "/v1/usage", told, idempotency_key=key).json()["result"]
        for key in (fresh_key(), fresh_key())
    ]
    assert [(one["accepted"], one["duplicates"]) for one in counts] == [(1, 0), (0, 1)]


def test_the_same_key_is_the_same_call_and_another_under_it_is_refused(
    served: HttpFace, service: Token
) -> None:
    key, told = fresh_key(), batch(fresh_name("event"))
    first = asked(served, service, "/v1/usage", told, idempotency_key=key)
    again = asked(served, service, "/v1/usage", {**told, "idempotency_key": key})
    assert again.json()["result"] == first.json()["result"]
    other = asked(served, service, "/v1/usage", batch("other"), idempotency_key=key)
    assert (other.status_code, other.json()["code"]) == (403, "idempotency_key_reused")
    fits("usage_record.Answer", other.json())


def test_a_thousand_events_fit_into_one_request(served: HttpFace, service: Token) -> None:
    stem = fresh_name("batch")
    found = asked(served, service, "/v1/usage", batch(*(f"{stem}-{n:04}" for n in range(1000))))
    assert found.status_code == 200, found.text
    assert found.json()["result"]["accepted"] == 1000
    many = asked(served, service, "/v1/usage", batch(*(f"{stem}-{n:04}" for n in range(1001))))
    assert (many.status_code, many.json()["field"]) == (422, "events")


def test_entitlements_and_usage_are_read(served: HttpFace, service: Token) -> None:
    path = f"/v1/entitlements/{TENANT}/api_calls"
    for query, status in (
        ("", "allowed"),
        ("?quantity=2.5", "allowed"),
        ("?quantity=11", "denied"),
    ):
        found = asked(served, service, path + query)
        assert (found.status_code, found.json()["result"]["status"]) == (200, status)
        fits("entitlement_check.Answer", found.json())
    page = asked(served, service, f"/v1/usage/{TENANT}")
    assert (page.status_code, page.json()["result"]["tenant"]) == (200, TENANT)
    fits("usage_summary.Answer", page.json())
    now = instant(datetime.now(UTC))
    assert asked(served, service, f"/v1/usage/{TENANT}?at={now}").status_code == 200


def test_a_call_over_this_door_is_in_the_log_of_calls_as_any_other(
    metered: House, served: HttpFace, service: Token
) -> None:
    before = metered.effects()["call"]
    assert asked(served, service, "/v1/usage", batch(fresh_name("event"))).status_code == 200
    assert metered.effects()["call"] == before + 1


# what is refused -------------------------------------------------------------------------------


@pytest.mark.long
def test_without_a_token_that_holds_nothing_is_answered(
    metered: House, served: HttpFace, service: Token
) -> None:
    unbound = metered.issue("operator", TENANT)
    revoked = metered.issue("operator", TENANT, actor="gone", bound=FOR_HTTP)
    metered.revoke(revoked)
    expired = metered.expired("operator", TENANT, FOR_HTTP)
    for token in (None, "nonsense", service.text + "x", unbound, revoked, expired):
        for path, body in (
            ("/v1/usage", batch("1")),
            ("/v1/usage", b"no json"),
            (f"/v1/usage/{TENANT}", None),
            (f"/v1/entitlements/{TENANT}/sso?quantity=x", None),
        ):
            found = asked(served, token, path, body)
            assert found.status_code == 401
            assert "www-authenticate" in found.headers
            fits("Error", found.json())


def test_a_stranger_learns_nothing_of_a_tenant(metered: House, served: HttpFace) -> None:
    stranger = metered.issue("operator", "globex", actor="eve", bound=FOR_HTTP)
    for path, body in (
        ("/v1/usage", batch("1")),
        (f"/v1/usage/{TENANT}", None),
        (f"/v1/entitlements/{TENANT}/sso", None),
    ):
        found = asked(served, stranger, path, body)
        absent = asked(
            served,
            stranger,
            path.replace(TENANT, "nobody"),
            None if body is None else {**body, "tenant": "nobody"},
        )
        assert (found.status_code, found.json()["outcome"]) == (404, "not_found")
        assert found.content == absent.content


def test_a_token_that_does_not_list_the_tool_is_refused(metered: House, served: HttpFace) -> None:
    viewer = metered.issue("viewer", TENANT, actor="vic", bound=FOR_HTTP)
    found = asked(served, viewer, "/v1/usage", batch("1"))
    assert (found.status_code, found.json()) == (403, {"error": "not_listed"})
    assert asked(served, viewer, f"/v1/usage/{TENANT}").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[]", "body"),
        (b"{}", "tenant"),
        ({"tenant": TENANT, "events": []}, "events"),
        ({"tenant": "SECRET!", "events": events("1")}, "tenant"),
        (batch("1", quantity="secret"), "events.0.quantity"),
        (batch("1", quantity=1.5), "events.0.quantity"),
        (batch("1", occurred_at="yesterday"), "events.0.occurred_at"),
        ({**batch("1"), "secret": 1}, "secret"),
        ({**batch("1"), "idempotency_key": "?"}, "idempotency_key"),
    ],
    ids=range(12),
)
def test_bad_input_names_the_field_and_never_the_value(
    served: HttpFace, service: Token, body: Any, field: str
) -> None:
    found = asked(served, service, "/v1/usage", body)
    assert (found.status_code, found.json()["field"]) == (422, field)
    assert "secret" not in found.json()["rule"].lower()
    fits("BadInput", found.json())


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?quantity=x", "quantity"),
        ("?quantity=", "quantity"),
        ("?quantity=-1", "quantity"),
        ("?quantity=1&quantity=2", "quantity"),
        ("?feature=sso", "feature"),
        ("?other=1", "other"),
        ("?quantity", "query"),
        ("?quantity=%ff", "query"),
        ("?" + "&".join(f"a{n}=1" for n in range(9)), "query"),
    ],
)
def test_a_query_that_is_wrong_is_bad_input(
    served: HttpFace, service: Token, query: str, field: str
) -> None:
    found = asked(served, service, f"/v1/entitlements/{TENANT}/api_calls{query}")
    assert (found.status_code, found.json()["field"]) == (422, field)


def test_a_body_is_json_and_its_key_is_given_once(served: HttpFace, service: Token) -> None:
    told = batch("1")
    plain = asked(served, service, "/v1/usage", told, content_type="text/plain")
    assert (plain.status_code, plain.json()["field"]) == (422, "content-type")
    twice = asked(
        served, service, "/v1/usage", {**told, "idempotency_key": "12345678"},
        idempotency_key="12345678",
    )  # fmt: skip
    assert (twice.status_code, twice.json()["field"]) == (422, "idempotency_key")


def test_the_wall_stands_before_this_door_too(served: HttpFace, service: Token) -> None:
    for path, method, status in (
        ("/v1/usage", "GET", 405),
        ("/v1/usage", "DELETE", 405),
        (f"/v1/usage/{TENANT}", "POST", 405),
        ("/v1/usage/", "GET", 404),
        ("/v1/usage/a/b", "GET", 404),
        ("/v1/entitlements/acme", "GET", 404),
        ("/v1/openapi.json", "POST", 405),
        ("/v1", "GET", 404),
    ):
        found = asked(served, service, path, method=method)
        assert (found.status_code, path) == (status, path)
    found = asked(served, service, "/v1/usage", host="evil.test")
    assert found.status_code == 421
    assert asked(served, service, "/v1/usage", b" " * 262_145).status_code == 413
    assert asked(served, service, "/v1/usage", b"[" * 99).status_code == 400
    in_query = asked(served, service, f"/v1/usage/{TENANT}?access_token=x")
    assert (in_query.status_code, in_query.json()) == (400, {"error": "token_in_query"})


def test_a_proof_of_possession_is_for_this_path_and_method(
    metered: House, served: HttpFace
) -> None:
    holder = OKPKey.generate_key("Ed25519")
    bound = Bound(AUDIENCE, holder.thumbprint())
    token = metered.issue("viewer", TENANT, actor="holder", bound=bound)

    def shown(**changed: str) -> int:
        hashed = sha256(token.text.encode()).digest()
        claims = {
            "jti": fresh_key(),
            "htm": "GET",
            "htu": f"https://paybill.test/v1/usage/{TENANT}",
            "iat": int(time.time()),
            "ath": urlsafe_b64encode(hashed).rstrip(b"=").decode(),
            **changed,
        }
        named = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": holder.as_dict(private=False)}
        proof = jwt.encode(named, claims, holder, algorithms=["Ed25519"])
        headers = {"authorization": f"DPoP {token.text}", "dpop": proof}
        return asked(served, None, f"/v1/usage/{TENANT}", **headers).status_code

    assert shown() == 200
    assert shown(htu=AUDIENCE) == 401
    assert shown(htm="POST") == 401


# a service's token -----------------------------------------------------------------------------

# What each operation is good for: a request and its status.
REQUESTS: dict[str, Any] = {
    "usage_write": ("/v1/usage", lambda: batch(fresh_name("event"))),
    "usage_read": (f"/v1/usage/{TENANT}", lambda: None),
    "entitlement_read": (f"/v1/entitlements/{TENANT}/api_calls", lambda: None),
    "connection": (f"/v1/tenants/{TENANT}/connection", lambda: None),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_service_does_what_its_token_names_and_nothing_else(
    metered: House, served: HttpFace, operation: str
) -> None:
    token = metered.issue_service(operation, TENANT, service="one-thing", bound=FOR_HTTP)
    for name, (path, body) in REQUESTS.items():
        found = asked(served, token, path, body())
        if name == operation:
            assert (found.status_code, found.json()["outcome"]) == (200, "done")
        else:
            assert (found.status_code, found.json()) == (403, {"error": "not_listed"})


def test_a_service_is_kept_out_of_mcp(served: HttpFace, service: Token) -> None:
    shakes: dict[str, Any] = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {},
    }
    asked_for: tuple[tuple[str, dict[str, Any]], ...] = (
        ("tools/call", {"name": "usage_summary", "arguments": {"tenant": TENANT}}),
        ("tools/call", {"name": "no_such_tool", "arguments": {}}),
        ("tools/list", {}),
        ("server/discover", {}),
        ("initialize", shakes),
    )
    for method, params in asked_for:
        content = json.dumps(modern_request(method, **params)).encode()
        headers = {"mcp-method": method, "mcp-name": str(params.get("name", ""))}
        found = post(served, service, headers=headers, content=content)
        assert (found.status_code, found.json()) == (403, {"error": "not_for_services"}), method
        assert "insufficient_scope" in found.headers["www-authenticate"]


def test_a_service_learns_nothing_of_a_tenant_that_its_token_does_not_name(
    metered: House, served: HttpFace
) -> None:
    token = metered.issue_service(EVERYTHING, "globex", service="elsewhere", bound=FOR_HTTP)
    for path, body in REQUESTS.values():
        told = body()
        found = asked(served, token, path, told)
        absent = asked(
            served,
            token,
            path.replace(TENANT, "nobody"),
            None if told is None else {**told, "tenant": "nobody"},
        )
        assert (found.status_code, found.json()["outcome"]) == (404, "not_found")
        assert found.content == absent.content


def test_a_service_of_every_tenant_reaches_each(metered: House, served: HttpFace) -> None:
    token = metered.issue_service(EVERYTHING, "*", service="everywhere", bound=FOR_HTTP)
    for path, body in REQUESTS.values():
        assert asked(served, token, path, body()).status_code == 200


def test_a_services_token_that_has_expired_is_refused(metered: House, served: HttpFace) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    token = metered.issue_service(EVERYTHING, TENANT, ttl="1m", now=past, bound=FOR_HTTP)
    found = asked(served, token, f"/v1/usage/{TENANT}")
    assert (found.status_code, found.json()) == (401, {"error": "token_expired"})


def test_a_services_token_that_was_revoked_is_refused_on_the_next_call(
    metered: House, served: HttpFace
) -> None:
    token = metered.issue_service(EVERYTHING, TENANT, bound=FOR_HTTP)
    assert asked(served, token, f"/v1/usage/{TENANT}").status_code == 200
    metered.revoke(token)
    found = asked(served, token, f"/v1/usage/{TENANT}")
    assert (found.status_code, found.json()) == (401, {"error": "grant_revoked"})


def test_a_services_token_for_another_server_is_refused(metered: House, served: HttpFace) -> None:
    elsewhere = Bound("https://other.test/mcp")
    token = metered.issue_service(EVERYTHING, TENANT, bound=elsewhere)
    assert asked(served, token, f"/v1/usage/{TENANT}").status_code == 401


# shares and statuses ---------------------------------------------------------------------------


def test_a_service_that_is_busy_with_one_tenant_still_reaches_its_others() -> None:
    begun, over = threading.Event(), threading.Event()

    class OneSlow:
        def call(self, _tool: str, raw: dict[str, Any]) -> Answer:
            if not begun.is_set():
                begun.set()
                assert over.wait(30)
            return Answer(outcome=Outcome(outcome="done", result=raw))

    statuses: dict[str, int] = {}
    door = Integration(cast("Front", OneSlow()), RandomIds(), 2, cast("ConnectionWaits", None))
    proven = Proven("service:shop\nservice:shop", float("inf"), lambda _: pytest.fail("unread"))

    async def ask(name: str, tenant: str) -> None:
        CURRENT.set(Visit(proven, Dispatch(2, 30.0), services=True))

        async def send(message: Any) -> None:
            statuses.setdefault(name, message.get("status", 0))

        scope: dict[str, Any] = {"path": f"/v1/usage/{tenant}", "query_string": b"", "headers": []}
        await door(scope, cast("Any", None), send)

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "first", "acme")
            assert await anyio.to_thread.run_sync(begun.wait, 30)
            with pytest.raises(TooManyRequests):
                await ask("second", "acme")
            await ask("other", "globex")
            over.set()
        await ask("after", "acme")

    anyio.run(both)
    assert statuses == {"other": 200, "first": 200, "after": 200}


def test_one_tenant_takes_no_more_than_half_of_a_callers_calls() -> None:
    assert [tenant_requests_max(calls) for calls in (1, 2, 8)] == [1, 1, 4]
    shares = TenantShares(1)
    with shares.taken("a", "acme"):
        with pytest.raises(TooManyRequests), shares.taken("a", "acme"):
            pytest.fail("one too many")
        with shares.taken("a", "globex"), shares.taken("b", "acme"):
            assert len(shares._counts) == 3
    with shares.taken("a", "acme"):
        assert len(shares._counts) == 1
    assert not shares._counts


@pytest.mark.parametrize("outcome", STATUS)
def test_every_outcome_has_a_status(outcome: OutcomeName) -> None:
    assert status_of(Outcome(outcome=outcome)) == STATUS[outcome]


def test_what_is_tried_again_says_so() -> None:
    busy = Outcome(outcome="refused", code="too_many_calls")
    gate = Outcome(outcome="refused", code="policy_engine_unavailable")
    store = Outcome(outcome="failed", code="store_busy", retryable=True)
    assert [status_of(one) for one in (busy, gate, store)] == [429, 503, 503]
    moving = store.model_copy(update={"code": "tenant_moving", "retry_after_s": 7})
    assert [retry_of(one) for one in (store, moving)] == [
        (b"retry-after", b"1"),
        (b"retry-after", b"7"),
    ]


# the document ----------------------------------------------------------------------------------


def test_the_document_is_served_to_anybody_and_is_the_one_in_the_docs(served: HttpFace) -> None:
    found = asked(served, None, "/v1/openapi.json")
    assert found.status_code == 200
    assert found.headers["content-type"] == "application/json"
    assert found.content == (ROOT / "docs" / "reference" / "openapi.json").read_bytes()


def test_every_schema_of_the_document_holds_and_every_link_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    links = set(re.findall(r'"\$ref": "([^"]+)"', openapi().decode()))
    assert links == {f"#/components/schemas/{name}" for name in schemas}
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert {"200", "401", "403", "404", "422", "429", "503"} <= set(operation["responses"])


def test_what_the_document_says_of_a_batch_is_what_is_taken() -> None:
    fits("usage_record.Request", batch("1", "2"))
    validator: Any = Draft202012Validator(
        {**DOCUMENT, "$ref": "#/components/schemas/usage_record.Request"}
    )
    for wrong in ({}, batch(), {**batch("1"), "more": 1}, batch("1", quantity=-1)):
        assert not validator.is_valid(wrong)


# the page about it -----------------------------------------------------------------------------


def test_the_commands_of_the_page_do_what_it_says(metered: House, served: HttpFace) -> None:
    token = metered.issue_service(EVERYTHING, TENANT, service="page", bound=FOR_HTTP)
    page = (ROOT / "docs" / "reference" / "integration.md").read_text()
    commands = re.findall(r"```sh\n(curl .*?)```", page, re.DOTALL)
    environment = {
        "PATH": os.environ["PATH"],
        "PAYBILL_URL": served.local_url.removesuffix("/mcp"),
        "PAYBILL_TOKEN": token.text,
        "NOW": instant(datetime.now(UTC)),
    }
    told = [
        json.loads(
            subprocess.run(
                ["/bin/sh", "-c", command], env=environment, capture_output=True, check=True
            ).stdout
        )
        for command in commands
    ]
    recorded, allowed, summed, held, released, reached, followed = [one["result"] for one in told]
    example = re.search(r'^{"outcome": "done", "result".*$', page, re.MULTILINE)
    assert example is not None
    assert recorded == json.loads(example[0])["result"]
    assert allowed["status"] == "allowed"
    assert [one["total"] for one in summed["meters"] if one["meter"] == "api_calls"] == ["1"]
    assert [(one["changed"], one["reserved"]) for one in (held, released)] == [
        (True, "2"),
        (True, "0"),
    ]
    assert (reached["version"], followed["acknowledged_version"]) == (1, 1)


def test_the_page_tells_of_every_operation_route_status_and_kind_of_event() -> None:
    page = (ROOT / "docs" / "reference" / "integration.md").read_text()
    one = r"`(?:GET|POST) /v1/[^`]+`"
    operations = re.findall(rf"^\| `(\w+)` \| ({one}(?:, {one})*) \|$", page, re.MULTILINE)
    assert [name for name, _ in operations] == list(OPERATIONS)
    paths = {path for _, told in operations for path in re.findall(r"`\w+ ([^`]+)`", told)}
    assert paths == {route.path for route in ROUTES}
    assert f"for {SERVICE_TTL_MAX.days} days at most" in page
    for route in ROUTES:
        line = f"| `{route.method} {route.path}` | [`{route.tool}`](tools.md#{route.tool}) |"
        assert line in page
    for outcome, status in STATUS.items():
        (line,) = [one for one in page.splitlines() if one.startswith(f"| {status} | `")]
        assert f"`{outcome}`" in line
    assert re.findall(r"^- `(payment_intent\.\w+)`$", page, re.MULTILINE) == list(EVENT_KINDS)
