"""A forged, stale or foreign token makes no caller. Not what a caller may do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.audit.recorder import LeafRecorder
from control_plane.domain.caller import Caller
from control_plane.errors import BadInput, NotFound
from control_plane.ports import Store
from control_plane.secrets import box, signer
from server import grants, tokens
from server.clock import SystemClock
from server.grants import NewGrant, parse_new_grant, parse_ttl
from server.ids import RandomIds
from server.opening import create_store
from server.service_grants import parse_new_service
from server.tokens import Bound, Identify, Unauthenticated

SEED = signer.new_seed()
OTHER_SEED = signer.new_seed()
RECORDER = LeafRecorder(box.new_keypair()[1], SystemClock(), RandomIds())
NOW = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
ASKED = parse_new_grant(
    principal="alice", actor="claude", roles="operator,approver", tenants="acme", ttl="8h"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = create_store(tmp_path / "store.db")
    yield made
    made.close()


@pytest.fixture
def identify(store: Store) -> Identify:
    return Identify(store, signer.public_bytes(SEED), "w1")


@pytest.fixture
def token(store: Store) -> str:
    return given(store, ASKED)


def given(store: Store, asked: NewGrant, grant_id: str = "g1") -> str:
    with store.write() as connection:
        _, text = tokens.issue(
            connection, SEED, "w1", asked, grant_id=grant_id, now=NOW, recorder=RECORDER
        )
    return text


def claims(**changed: object) -> dict[str, object]:
    start = int(NOW.timestamp())
    return {
        "iss": "paybill",
        "aud": "paybill:w1",
        "sub": "alice",
        "act": {"sub": "claude"},
        "jti": "g1",
        "iat": start,
        "exp": start + 8 * 3600,
        **changed,
    }


def segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(
    body: object, header: object = None, sign: Callable[[bytes], bytes] | None = None
) -> str:
    first = {"typ": "at+jwt", "alg": "Ed25519"} if header is None else header
    text = f"{segment(first)}.{segment(body)}"
    return f"{text}.{segment((sign or by_seed)(text.encode()))}"


def by_seed(message: bytes) -> bytes:
    return signer.sign(SEED, message)


def by_public_key(message: bytes) -> bytes:
    return hmac.new(signer.public_bytes(SEED), message, hashlib.sha256).digest()


def test_a_token_makes_the_caller_of_its_grant(identify: Identify, token: str) -> None:
    assert identify.verify(token, SOON) == Caller(
        principal="alice",
        actor="claude",
        actor_kind="agent",
        roles=("operator",),
        tenants=("acme",),
        grant_id="g1",
    )
    assert identify.verify(signed(claims()), SOON) == identify.verify(token, SOON)


FORGED: dict[str, tuple[str, str]] = {
    "alg none": (signed(claims(), {"typ": "at+jwt", "alg": "none"}, lambda _: b""), "signature"),
    "alg none, signed": (signed(claims(), {"typ": "at+jwt", "alg": "none"}), "signature"),
    "HS256 with the public key": (
        signed(claims(), {"typ": "at+jwt", "alg": "HS256"}, by_public_key),
        "signature",
    ),
    "EdDSA, the wider name": (signed(claims(), {"typ": "at+jwt", "alg": "EdDSA"}), "signature"),
    "no alg": (signed(claims(), {"typ": "at+jwt"}), ""),
    "another typ": (signed(claims(), {"typ": "JWT", "alg": "Ed25519"}), "malformed"),
    "own key in header": (
        signed(claims(), {"typ": "at+jwt", "alg": "Ed25519", "jwk": {"kty": "OKP"}}),
        "",
    ),
    "crit": (signed(claims(), {"typ": "at+jwt", "alg": "Ed25519", "crit": ["b64"]}), ""),
    "another key": (signed(claims(), None, lambda m: signer.sign(OTHER_SEED, m)), "signature"),
    "no signature": (signed(claims(), None, lambda _: b""), "signature"),
    "wrong audience": (signed(claims(aud="paybill:w2")), "audience"),
    "many audiences": (signed(claims(aud=["paybill:w1", "x"])), "malformed"),
    "wrong issuer": (signed(claims(iss="else")), "issuer"),
    "expired": (signed(claims(exp=int(NOW.timestamp()) + 1)), "expired"),
    "from the future": (signed(claims(iat=int(NOW.timestamp()) + 600)), "expired"),
    "no expiry": (signed({k: v for k, v in claims().items() if k != "exp"}), "malformed"),
    "unknown grant": (signed(claims(jti="g2")), "absent"),
    "another human": (signed(claims(sub="mallory")), "mismatch"),
    "another actor": (signed(claims(act={"sub": "alice"})), "mismatch"),
    "a chain of actors": (signed(claims(act={"sub": "claude", "act": {}})), "malformed"),
    "roles in the token": (signed(claims(roles=["platform_admin"])), "malformed"),
    "claims are a list": (signed([]), ""),
    "header is a list": (signed(claims(), []), ""),
    "header is text": (signed(claims(), "x"), ""),
    "header is deep": (signed(claims(), b"[" * 1200), ""),
    "garbage": ("garbage", ""),
    "dots": ("..", ""),
    "not ascii": ("é.é.é", "malformed"),
    "line ends": (signed(claims()) + "\n", ""),
    "oversized": ("a" * 3000, "malformed"),
    "nothing": ("", "absent"),
}


@pytest.mark.slice_of(4)
@pytest.mark.parametrize(("forged", "reason"), FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_makes_no_caller(
    identify: Identify, token: str, forged: str, reason: str
) -> None:
    assert identify.verify(token, SOON).principal == "alice"
    with pytest.raises(Unauthenticated) as caught:
        identify.verify(forged, SOON)
    assert caught.value.code.endswith(reason)
    for telling in ("alice", "mallory", "claude", "g1", "g2", "w1", "w2", "signature", "audience"):
        assert telling not in str(caught.value)


def test_every_changed_character_breaks_a_token(identify: Identify, token: str) -> None:
    head, body, tail = token.split(".")
    changed = body[:10] + ("A" if body[10] != "A" else "B") + body[11:]
    with pytest.raises(Unauthenticated):
        identify.verify(f"{head}.{changed}.{tail}", SOON)


def test_a_token_holds_to_its_last_second(identify: Identify, token: str) -> None:
    end = NOW.replace(microsecond=0) + timedelta(hours=8)
    assert identify.verify(token, end - timedelta(microseconds=1)).principal == "alice"
    with pytest.raises(Unauthenticated) as caught:
        identify.verify(token, end)
    assert caught.value.code == "token_expired"


def test_a_revoked_grant_ends_on_the_next_call(
    identify: Identify, token: str, store: Store
) -> None:
    with store.write() as connection:
        revoked = grants.revoke(connection, "g1", SOON, RECORDER)
        assert grants.revoke(connection, "g1", SOON + timedelta(hours=1), RECORDER) == revoked
        with pytest.raises(NotFound):
            grants.revoke(connection, "g2", SOON, RECORDER)
    with pytest.raises(Unauthenticated) as caught:
        identify.verify(token, SOON)
    assert caught.value.code == "grant_revoked"


def test_a_person_without_an_actor_acts_in_person(identify: Identify, store: Store) -> None:
    asked = parse_new_grant(principal="bob", roles="approver", tenants="acme", ttl="30m")
    caller = identify.verify(given(store, asked), SOON)
    assert (caller.actor, caller.actor_kind, caller.roles) == ("bob", "human", ("approver",))


def test_an_agent_stays_under_its_ceiling(identify: Identify, store: Store) -> None:
    asked = parse_new_grant(
        principal="bob", actor="bot", roles="operator,viewer", ceiling="viewer", tenants="acme",
        ttl="1d",
    )  # fmt: skip
    assert identify.verify(given(store, asked), SOON).roles == ("viewer",)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"tenants": "*"}, "tenants"),
        ({"tenants": "*,acme", "roles": "platform_admin"}, "tenants"),
        ({"tenants": "../x"}, "tenants"),
        ({"tenants": ""}, "tenants"),
        ({"roles": "emperor"}, "roles"),
        ({"roles": ""}, "roles"),
        ({"principal": "a\x1b[31m"}, "principal"),
        ({"actor": "alice"}, "actor"),
        ({"ceiling": "viewer"}, "ceiling"),
        ({"actor": "bot", "ceiling": "approver"}, "ceiling"),
        ({"ttl": "31d"}, "ttl"),
        ({"ttl": "0h"}, "ttl"),
        ({"ttl": "8"}, "ttl"),
        ({"ttl": "8h\n"}, "ttl"),
        ({"ttl": "999999d"}, "ttl"),
    ],
)
def test_a_wrong_grant_is_refused_by_the_name_of_the_option(
    changed: dict[str, str], field: str
) -> None:
    values = {"principal": "alice", "roles": "viewer", "tenants": "acme", "ttl": "8h", **changed}
    with pytest.raises(BadInput) as caught:
        parse_new_grant(**values)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "roles",
    ["platform_admin", "platform_admin,support", "auditor", "approver", "approver,auditor"],
)
def test_every_tenant_is_for_who_answers_for_the_whole(roles: str) -> None:
    asked = parse_new_grant(principal="root", roles=roles, tenants="*", ttl="8h")
    assert asked.grant("g", NOW).tenants == ("*",)


@pytest.mark.parametrize("roles", ["viewer", "billing", "auditor,viewer", "approver,operator"])
def test_every_tenant_is_for_nobody_else(roles: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_new_grant(principal="root", roles=roles, tenants="*", ttl="8h")
    assert caught.value.field == "tenants"


@pytest.mark.parametrize(("text", "minutes"), [("30m", 30), ("8h", 480), ("30d", 43_200)])
def test_a_time_to_live_reads_as_it_looks(text: str, minutes: int) -> None:
    assert parse_ttl(text) == timedelta(minutes=minutes)


# a service's -----------------------------------------------------------------------------------

SERVICE = parse_new_service(
    service="shop", operations="usage_read,usage_write", tenants="acme,globex", ttl="90d"
)
SERVER = "https://paybill.test/mcp"


def given_service(store: Store, bound: Bound) -> str:
    with store.write() as connection:
        _, text = tokens.issue(
            connection, SEED, "w1", SERVICE, grant_id="s1", now=NOW, recorder=RECORDER, bound=bound
        )
    return text


def test_a_services_token_makes_a_caller_that_is_no_agent(store: Store) -> None:
    over_http = Identify(store, signer.public_bytes(SEED), "w1", SERVER)
    text = given_service(store, Bound(SERVER))
    assert over_http.caller(over_http.claims(text), SOON) == Caller(
        principal="service:shop",
        actor="service:shop",
        actor_kind="service",
        roles=("service_usage_write", "service_usage_read"),
        tenants=("acme", "globex"),
        grant_id="s1",
    )


@pytest.mark.parametrize("bound", [Bound(SERVER), Bound()])
def test_a_services_token_is_refused_over_stdio_and_socket(
    store: Store, identify: Identify, bound: Bound
) -> None:
    text = given_service(store, bound)
    with pytest.raises(Unauthenticated) as refused:
        identify.verify(text, SOON)
    assert refused.value.code == "token_audience"


def test_a_services_grant_gives_a_person_or_an_agent_nothing() -> None:
    made = SERVICE.grant("s1", NOW)
    for kind in ("human", "agent"):
        other = made.model_copy(update={"actor_kind": kind})
        assert Caller.of(other).roles == ()
    people = ASKED.grant("g1", NOW).model_copy(update={"actor_kind": "service"})
    assert Caller.of(people).roles == ()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"service": "Shop"}, "service"),
        ({"service": "service:shop"}, "service"),
        ({"operations": "usage"}, "operations"),
        ({"operations": "usage_read,platform_admin"}, "operations"),
        ({"operations": "service_usage_read"}, "operations"),
        ({"operations": ""}, "operations"),
        ({"tenants": ""}, "tenants.0"),
        ({"tenants": "*,acme"}, "tenants"),
        ({"ttl": "91d"}, "ttl"),
        ({"ttl": "0m"}, "ttl"),
    ],
)
def test_a_services_grant_that_breaks_a_rule_is_bad_input(
    given: dict[str, str], field: str
) -> None:
    asked = {"service": "shop", "operations": "usage_read", "tenants": "acme", "ttl": "8h"}
    with pytest.raises(BadInput) as refused:
        parse_new_service(**{**asked, **given})
    assert field.startswith(refused.value.field)


@pytest.mark.parametrize("role", ["service_usage_write", "service"])
def test_no_person_and_no_agent_is_given_a_services_role(role: str) -> None:
    for actor in (None, "bot"):
        with pytest.raises(BadInput) as refused:
            parse_new_grant(principal="alice", actor=actor, roles=role, tenants="acme", ttl="8h")
        assert refused.value.field == "roles"


@pytest.mark.parametrize(
    ("principal", "actor", "field"),
    [
        ("service:shop", None, "principal"),
        ("Service:shop", "bot", "principal"),
        ("alice", "service:shop", "actor"),
    ],
)
def test_nobody_else_is_called_like_a_service(
    principal: str, actor: str | None, field: str
) -> None:
    with pytest.raises(BadInput) as refused:
        parse_new_grant(
            principal=principal, actor=actor, roles="operator", tenants="acme", ttl="8h"
        )
    assert refused.value.field == field
