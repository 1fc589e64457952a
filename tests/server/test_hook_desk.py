"""Endpoints at the operator's desk, on both engines: registered, rotated, tested, replayed; each act in the log, no secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, func, select

from control_plane.audit.recorder import LeafRecorder
from control_plane.billing import inbox, letters, outbox, webhook_endpoints
from control_plane.billing.delivery import Answer
from control_plane.billing.hook_rounds import SCOPE
from control_plane.billing.inbox import Inbox
from control_plane.billing.outbox import Message, Outbox, publish, settle
from control_plane.billing.webhook_endpoints import ENDPOINTS_MAX, ROTATION_OVERLAP, Endpoint
from control_plane.domain.canonical import canonical
from control_plane.domain.machine import IllegalTransition
from control_plane.domain.tenant import Tenant
from control_plane.errors import BadInput, NotFound, PaybillError, Refused
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair, open_box
from control_plane.store import rows, tables
from control_plane.store.webhook_tables import webhook_endpoint
from server.hook_desk import HookDesk
from tests.support.hooks import TestClock, arrival, hook_store

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
PRIVATE, PUBLIC = new_keypair()
URL = "https://hooks.example.com/paybill"
BOTH = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)


class Numbers:
    """Ids in the order in which they are asked for, and randomness that a test knows."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def seed(self) -> str:
        return f"00000000-0000-0000-0000-{next(self._numbers):012}"

    def new(self) -> str:
        return f"{next(self._numbers):032x}"


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """On SQLite; `BOTH` asks for either engine."""
    with hook_store(getattr(request, "param", "sqlite"), tmp_path, request) as opened:
        tenant = Tenant(
            id="acme",
            display_name="Acme",
            isolation="pooled",
            plan="team",
            region="local",
            state="active",
            access_mode="full",
        )
        with opened.write() as connection:
            rows.put(connection, tables.tenant, tenant)
        yield opened


@pytest.fixture
def clock() -> TestClock:
    return TestClock(NOW)


@pytest.fixture
def desk(clock: TestClock) -> HookDesk:
    ids = Numbers()
    return HookDesk(PUBLIC, LeafRecorder(PUBLIC, clock, ids), clock, ids)


def added(
    store: Store, desk: HookDesk, tenant: str = "acme", *kinds: str
) -> tuple[Endpoint, SecretStr]:
    with store.write(SCOPE) as connection:
        return desk.add(connection, URL, tenant, kinds or ("*",))


def refused(
    error: type[PaybillError], store: Store, act: Callable[[Connection], object], code: str
) -> str:
    """The message of an act that is refused and leaves no leaf."""
    before = leaf_count(store)
    with pytest.raises(error) as caught, store.write(SCOPE) as connection:
        act(connection)
    assert caught.value.code == code
    assert leaf_count(store) == before
    return str(caught.value)


def adding(
    desk: HookDesk, url: str = URL, tenant: str = "acme", kind: str = "*"
) -> Callable[[Connection], object]:
    return lambda connection: desk.add(connection, url, tenant, (kind,))


def acting(
    act: Callable[[HookDesk, Connection, str], object], desk: HookDesk, endpoint: str
) -> Callable[[Connection], object]:
    return lambda connection: act(desk, connection, endpoint)


def leaf_count(store: Store) -> int:
    with store.read() as connection:
        wanted = select(func.count()).select_from(tables.audit_leaf)
        return int(connection.execute(wanted).scalar_one())


def leaves(store: Store) -> list[tuple[str, str]]:
    with store.read() as connection:
        wanted = select(tables.audit_leaf.c.kind, tables.audit_leaf.c.tenant)
        return [(kind, tenant) for kind, tenant in connection.execute(wanted)]


def tell(store: Store, name: str, at: datetime) -> None:
    made = Message(id=name, tenant="acme", kind="invoice.paid", data={}, made_at=at)
    with store.write() as connection:
        assert publish(connection, made) == 1


def reject(store: Store, at: datetime) -> None:
    with store.write() as connection:
        for parcel in Outbox(PRIVATE).lease(connection, at):
            settle(connection, parcel.delivery, Answer(status=413), at)


def signing(store: Store, endpoint: str, at: datetime) -> list[str]:
    with store.read() as connection:
        found = webhook_endpoints.secrets_of(connection, PRIVATE, endpoint, at)
    return [one.get_secret_value() for one in found]


# endpoints -------------------------------------------------------------------------------------


def test_an_endpoint_is_kept_with_the_secret_that_is_shown_and_recorded(
    store: Store, desk: HookDesk
) -> None:
    made, secret = added(store, desk, "acme", "invoice.*", "subscription.renewed")
    assert made.id.startswith("we_")
    assert secret.get_secret_value().startswith("whsec_")
    assert signing(store, made.id, NOW) == [secret.get_secret_value()]
    assert leaves(store) == [("webhook.added", "acme")]
    other, others = added(store, desk, "*")
    assert (other.tenant, others == secret) == ("", False)
    assert leaves(store)[-1] == ("webhook.added", "")
    with store.read() as connection:
        assert webhook_endpoints.standing(connection) == [other, made]


@BOTH
def test_no_secret_stands_in_the_clear_in_the_store_or_in_a_leaf(
    store: Store, desk: HookDesk
) -> None:
    made, first = added(store, desk, "*")
    with store.write(SCOPE) as connection:
        _, second = desk.rotate(connection, made.id)
    with store.read() as connection:
        kept = [
            value
            for table in (tables.audit_leaf, webhook_endpoint)
            for row in connection.execute(select(table))
            for value in row
        ]
        sealed = connection.execute(select(tables.audit_leaf.c.id, tables.audit_leaf.c.sealed))
        opened = [
            open_box(PRIVATE, bytes(text), canonical(["audit leaf", named]))
            for named, text in sealed
        ]
    told = repr(kept) + repr(opened) + repr((first, second))
    assert made.id in repr(opened)
    for secret in (first, second):
        assert secret.get_secret_value().removeprefix("whsec_") not in told


PRIVATE_URLS = (
    "https://10.0.0.1/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::ffff:192.168.0.1]/",
)


def test_an_address_that_is_not_public_is_refused(store: Store, desk: HookDesk) -> None:
    for url in PRIVATE_URLS:
        said = refused(Refused, store, adding(desk, url=url), "address_not_public")
        assert url not in said


NO_URLS = (
    "http://hooks.example.com/",
    "https://me:pw@hooks.example.com/",
    "https://hooks/",
    "https://hooks.example.com:8000/",
    "https://hooks.example.com/" + "a" * 2048,
    "x",
)


def test_what_is_no_url_of_an_endpoint_is_bad_input(store: Store, desk: HookDesk) -> None:
    for url in NO_URLS:
        said = refused(BadInput, store, adding(desk, url=url), "bad_input")
        assert said.startswith("url: ")


def test_a_kind_that_nothing_is_told_of_is_bad_input(store: Store, desk: HookDesk) -> None:
    for kind in ("invoice.payed", "invoice.pai.*", "Invoice.paid", "", "paid.*", "x.*"):
        said = refused(BadInput, store, adding(desk, kind=kind), "bad_input")
        assert said.startswith("kinds: ")
        assert ("did you mean invoice.paid?" in said) is ("nvoice" in kind)


def test_a_tenant_that_is_not_there_has_no_endpoint(store: Store, desk: HookDesk) -> None:
    refused(NotFound, store, adding(desk, tenant="nobody"), "tenant_absent")


def test_one_owner_has_no_more_than_so_many(store: Store, desk: HookDesk) -> None:
    for _ in range(ENDPOINTS_MAX):
        added(store, desk)
    refused(Refused, store, adding(desk), "endpoints_full")
    assert added(store, desk, "*")[0].tenant == ""


def test_after_a_rotation_both_secrets_sign_for_a_day_and_then_the_new_one(
    store: Store, desk: HookDesk, clock: TestClock
) -> None:
    made, first = added(store, desk)
    with store.write(SCOPE) as connection:
        turned, second = desk.rotate(connection, made.id)
    both = [second.get_secret_value(), first.get_secret_value()]
    assert turned.former_until == NOW + ROTATION_OVERLAP
    assert signing(store, made.id, NOW + ROTATION_OVERLAP - timedelta(seconds=1)) == both
    assert signing(store, made.id, NOW + ROTATION_OVERLAP) == both[:1]
    refused(Refused, store, lambda c: desk.rotate(c, made.id), "rotation_open")
    assert leaves(store)[-1] == ("webhook.rotated", "acme")


def test_after_a_leak_the_secret_before_signs_nothing_more(store: Store, desk: HookDesk) -> None:
    made, _ = added(store, desk)
    with store.write(SCOPE) as connection:
        desk.rotate(connection, made.id)
        turned, third = desk.rotate(connection, made.id, at_once=True)
    assert turned.former_until is None
    assert signing(store, made.id, NOW) == [third.get_secret_value()]


def test_an_endpoint_that_said_it_is_gone_is_enabled_by_hand(store: Store, desk: HookDesk) -> None:
    made, _ = added(store, desk)
    with store.write() as connection:
        webhook_endpoints.disable(connection, made.id, "gone", NOW)
    with store.write(SCOPE) as connection:
        assert desk.enable(connection, made.id).enabled
        assert desk.disable(connection, made.id).disabled_cause == "asked"
        assert desk.enable(connection, made.id).enabled
    assert [kind for kind, _ in leaves(store)][1:] == [
        "webhook.enabled",
        "webhook.disabled",
        "webhook.enabled",
    ]


ACTS: dict[str, Callable[[HookDesk, Connection, str], object]] = {
    "rotate": lambda desk, c, name: desk.rotate(c, name),
    "disable": lambda desk, c, name: desk.disable(c, name),
    "enable": lambda desk, c, name: desk.enable(c, name),
    "remove": lambda desk, c, name: desk.remove(c, name),
    "test": lambda desk, c, name: desk.test(c, name),
    "replay": lambda desk, c, name: desk.replay_since(c, name, NOW),
    "show": lambda desk, c, name: desk.standing(c, name),
}


def test_an_endpoint_that_was_removed_is_not_there(store: Store, desk: HookDesk) -> None:
    made, _ = added(store, desk)
    with store.write(SCOPE) as connection:
        desk.remove(connection, made.id)
    assert leaves(store)[-1] == ("webhook.removed", "acme")
    for act in ACTS.values():
        for named in (made.id, "we_never"):
            refused(NotFound, store, acting(act, desk, named), "endpoint_absent")


# messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tenant", "of"), [("acme", "acme"), ("*", "example")])
def test_a_test_message_goes_to_that_endpoint_alone_whatever_it_asked_for(
    store: Store, desk: HookDesk, tenant: str, of: str
) -> None:
    made, secret = added(store, desk, tenant, "invoice.paid")
    added(store, desk, "*")
    with store.write(SCOPE) as connection:
        named = desk.test(connection, made.id)
        (parcel,) = Outbox(PRIVATE).lease(connection, NOW)
    assert (parcel.delivery.id, parcel.delivery.endpoint) == (named, made.id)
    assert parcel.secrets == (secret,)
    told = json.loads(parcel.body)
    assert (told["type"], told["tenant"], told["data"]) == (
        "webhook.test",
        of,
        {"endpoint": made.id},
    )
    assert leaves(store)[-1] == ("webhook.tested", "" if tenant == "*" else "acme")


def test_nothing_is_sent_to_an_endpoint_that_is_disabled(store: Store, desk: HookDesk) -> None:
    made, _ = added(store, desk)
    tell(store, "m1", NOW)
    reject(store, NOW)
    with store.write(SCOPE) as connection:
        desk.disable(connection, made.id)
    for act in ("test", "replay"):
        refused(Refused, store, acting(ACTS[act], desk, made.id), "endpoint_disabled")


@BOTH
def test_one_dead_letter_is_replayed_by_its_id(store: Store, desk: HookDesk) -> None:
    added(store, desk)
    tell(store, "m1", NOW)
    reject(store, NOW)
    with store.read() as connection:
        ((dead, _, _),) = letters.dead(connection)
    with store.write(SCOPE) as connection:
        waiting = desk.replay(connection, dead.id)
    assert (waiting.state, waiting.replays, waiting.message) == ("pending", 1, "m1")
    assert leaves(store)[-1] == ("webhook.replayed", "acme")
    refused(IllegalTransition, store, lambda c: desk.replay(c, dead.id), "illegal_transition")
    refused(NotFound, store, lambda c: desk.replay(c, "never"), "delivery_absent")


@BOTH
def test_dead_letters_are_replayed_from_an_instant_on(
    store: Store, desk: HookDesk, clock: TestClock
) -> None:
    made, _ = added(store, desk)
    for hour in range(4):
        tell(store, f"m{hour}", NOW + timedelta(hours=hour))
    clock.passes(hours=9)
    reject(store, clock.at)
    with store.write(SCOPE) as connection:
        assert desk.replay_since(connection, made.id, NOW + timedelta(hours=2)) == 2
    assert leaves(store)[-1] == ("webhook.replayed", "acme")
    with store.read() as connection:
        states = {
            name: outbox.of_message(connection, name)[0].state for name in ("m0", "m1", "m2", "m3")
        }
    assert states == dict.fromkeys(("m0", "m1"), "dead_lettered") | dict.fromkeys(
        ("m2", "m3"), "pending"
    )
    before = leaf_count(store)
    with store.write(SCOPE) as connection:
        assert desk.replay_since(connection, made.id, NOW + timedelta(hours=2)) == 0
    assert leaf_count(store) == before


def test_a_dead_event_of_a_provider_is_worked_off_again(
    store: Store, desk: HookDesk, clock: TestClock
) -> None:
    inbox.receive(store, PUBLIC, arrival(), NOW)
    held = Inbox(PRIVATE, "w1")
    for _ in range(10):
        clock.passes(days=3)
        with store.write() as connection:
            (lease,) = held.lease(connection, clock.at)
            held.fail(connection, lease, "no_such_payment", clock.at)
    with store.read() as connection:
        (dead,) = inbox.dead(connection, "sandbox")
        assert inbox.dead(connection, "stripe") == []
    assert (dead.id, dead.reason, dead.kept) == ("evt_1", "no_such_payment", True)
    with store.write(SCOPE) as connection:
        desk.replay_event(connection, "sandbox", "evt_1")
    assert leaves(store)[-1] == ("webhook.event_replayed", "")
    with store.read() as connection:
        assert inbox.dead(connection, "sandbox") == []
        assert inbox.waiting(connection, clock.at)
    refused(NotFound, store, lambda c: desk.replay_event(c, "sandbox", "x"), "event_absent")
