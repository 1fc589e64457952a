"""The door of a provider's events over a real server: proven before anything is kept, and kept once."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from control_plane.store.webhook_tables import inbound_event
from server.hook_door import OPEN_MAX, HookDoor, Received
from tests.support.house import House, build_house, fresh_name
from tests.support.http_faces import HttpFace, exchange, http_face
from tests.support.waiting import until
from tests.support.workers import running_worker

SECRET, NEXT = "whsec_of_the_endpoint", "whsec_of_the_next"
PRIVATE = "anna@example.com"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    """A workspace whose worker and face know Stripe's secrets."""
    made = build_house(tmp_path_factory.mktemp("hooks"), cerbos_binary)
    named = made.with_environment(PAYBILL_STRIPE_WEBHOOK_SECRETS=f"{SECRET}, {NEXT}")
    with running_worker(named):
        yield named


@pytest.fixture(scope="module")
def served(house: House) -> Iterator[HttpFace]:
    with http_face(house) as face:
        yield face


def event(name: str, kind: str = "payment_intent.succeeded", **intent: Any) -> bytes:
    told = {
        "id": "pi_1",
        "object": "payment_intent",
        "status": "succeeded",
        "amount": 1000,
        "currency": "eur",
        "metadata": {"paybill_attempt": "payment_0123456789abcdef"},
        "latest_charge": "ch_1",
        "receipt_email": PRIVATE,
        **intent,
    }
    at_s = int(time.time())
    return json.dumps(
        {"id": name, "type": kind, "created": at_s, "data": {"object": told}}
    ).encode()


def signed(body: bytes, secret: str = SECRET, at_s: int | None = None) -> dict[str, str]:
    when = int(time.time()) if at_s is None else at_s
    made = hmac.new(secret.encode(), b"%d." % when + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={when},v1={made}"}


def sent(
    served: HttpFace,
    body: bytes,
    headers: Mapping[str, str],
    path: str = "/hooks/stripe",
    method: str = "POST",
) -> httpx2.Response:
    url = served.local_url.removesuffix("/mcp") + path
    return httpx2.request(
        method, url, headers=dict(headers), content=body, timeout=30.0, trust_env=False
    )


def kept(house: House, name: str) -> list[Any]:
    with house.store() as store, store.read() as connection:
        wanted = select(inbound_event).where(inbound_event.c.id == name)
        return list(connection.execute(wanted))


def named() -> str:
    return fresh_name("evt").replace("-", "_")


@pytest.mark.long
def test_an_event_is_kept_once_and_worked_off(house: House, served: HttpFace) -> None:
    name = named()
    body = event(name)
    for _ in range(3):
        found = sent(served, body, signed(body))
        assert (found.status_code, found.content) == (200, b"")
    (row,) = until(
        lambda: [one for one in kept(house, name) if one.state == "completed"] or None,
        "the worker has done with it",
    )
    assert (row.outcome, row.sealed) == ("ignored", None)
    again = sent(served, body, signed(body))
    assert (again.status_code, len(kept(house, name))) == (200, 1)


def test_each_secret_holds_while_one_is_rotated(house: House, served: HttpFace) -> None:
    name = named()
    body = event(name)
    assert sent(served, body, signed(body, NEXT)).status_code == 200
    assert len(kept(house, name)) == 1


def test_what_is_not_signed_is_not_kept_and_is_not_told_why(house: House, served: HttpFace) -> None:
    name = named()
    body = event(name)
    good = signed(body)["stripe-signature"]
    for headers in (
        {},
        {"stripe-signature": "t=1,v1=00"},
        {"stripe-signature": "\u00e9".encode("latin-1").decode("latin-1")},
        signed(body, "another"),
        signed(body + b" "),
        signed(body, at_s=int(time.time()) - 400),
        signed(body, at_s=int(time.time()) + 400),
        {"stripe-signature": good.replace("v1=", "v0=")},
    ):
        encoded = {key: value.encode("latin-1") for key, value in headers.items()}
        found = sent(served, body, encoded)  # type: ignore[arg-type]
        assert (found.status_code, found.content) == (401, b"")
    assert kept(house, name) == []
    told = served.told()
    assert "webhook_signature" in told or "webhook_headers" in told
    assert PRIVATE not in told
    assert SECRET not in told
    assert NEXT not in told


def test_another_body_under_a_known_id_is_refused(house: House, served: HttpFace) -> None:
    name = named()
    first, other = event(name), event(name, amount=999)
    assert sent(served, first, signed(first)).status_code == 200
    assert sent(served, other, signed(other)).status_code == 409
    assert len(kept(house, name)) == 1


def test_an_event_that_tells_of_no_attempt_is_acknowledged_and_not_kept(
    house: House, served: HttpFace
) -> None:
    for name, body in (
        (one := named(), event(one, "customer.created")),
        (two := named(), event(two, metadata={})),
    ):
        assert sent(served, body, signed(body)).status_code == 200
        assert kept(house, name) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"\xff", b'{"id":"evt_1"}'])
def test_signed_bytes_that_are_no_event_are_bad(served: HttpFace, body: bytes) -> None:
    found = sent(served, body, signed(body))
    assert (found.status_code, found.content) == (400, b"")


def test_what_is_too_large_is_refused(served: HttpFace) -> None:
    body = b" " * 262_145
    assert sent(served, body, signed(body)).status_code == 413


def test_only_a_provider_that_is_configured_has_a_door(house: House, served: HttpFace) -> None:
    body = event(named())
    for path in ("/hooks/paypal", "/hooks/", "/hooks", "/hooks/stripe/", "/hooks/STRIPE"):
        found = sent(served, body, signed(body), path)
        assert (found.status_code, found.json()) == (404, {"error": "no_such_path"})
    assert sent(served, body, {}, method="GET").status_code == 405
    assert sent(served, body, {**signed(body), "host": "evil.test"}).status_code == 421
    with http_face(house.with_environment(PAYBILL_STRIPE_WEBHOOK_SECRETS="")) as bare:
        assert sent(bare, body, signed(body)).status_code == 404


def test_the_secrets_may_stand_in_a_file(house: House, tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"{NEXT}\n")
    file.chmod(0o600)
    told = {"PAYBILL_STRIPE_WEBHOOK_SECRETS": "", "PAYBILL_STRIPE_WEBHOOK_SECRETS_FILE": str(file)}
    with http_face(house.with_environment(**told)) as face:
        body = event(named())
        assert sent(face, body, signed(body, NEXT)).status_code == 200
        assert sent(face, body, signed(body, SECRET)).status_code == 401


def test_a_signature_that_stands_twice_is_none(served: HttpFace) -> None:
    body = event(named())
    line = f"stripe-signature: {signed(body)['stripe-signature']}\r\n"
    _, port = served.address
    head = (
        f"POST /hooks/stripe HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{line}{line}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    assert exchange(served, head.encode() + body).startswith(b"HTTP/1.1 401")


@pytest.mark.anyio
async def test_of_all_who_have_no_token_only_so_many_are_listened_to(shared: House) -> None:
    with shared.store() as store:
        door = HookDoor(store, b"", {"stripe": ()}, lambda: datetime.now(UTC))
        door._open = OPEN_MAX

        async def nothing() -> Any:
            raise AssertionError("its body is not read")

        found = await door.taken({"path": "/hooks/stripe", "headers": []}, nothing)
    assert (found, found.again) == (Received(503, "hooks_busy"), True)
