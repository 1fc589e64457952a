"""Letters as they are looked at, on both engines: the newest, the dead ones, and how many."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.billing import delivery as rules
from control_plane.billing import letters, webhook_endpoints
from control_plane.billing.delivery import WAITS, Answer
from control_plane.billing.outbox import Message, Outbox, publish, settle
from control_plane.billing.webhook_endpoints import NewEndpoint
from control_plane.billing.webhooks import new_secret
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from tests.support.hooks import hook_store

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
PRIVATE, PUBLIC = new_keypair()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with hook_store(str(request.param), tmp_path, request) as opened:
        for number, owner in enumerate(("acme", "")):
            asked = NewEndpoint(
                id=f"we_{number}", tenant=owner, url="https://hooks.example.com/", kinds=("*",)
            )
            with opened.write() as connection:
                webhook_endpoints.register(connection, PUBLIC, asked, new_secret(bytes(32)), NOW)
        yield opened


def tell(store: Store, name: str, tenant: str, **later: float) -> None:
    made = Message(
        id=name,
        tenant=tenant,
        kind="invoice.paid",
        data={},
        made_at=NOW + timedelta(**later),
    )
    with store.write() as connection:
        publish(connection, made)


def reject(store: Store, at: datetime) -> None:
    """One attempt of all that is due, and an answer that is final."""
    with store.write() as connection:
        for parcel in Outbox(PRIVATE).lease(connection, at):
            settle(connection, parcel.delivery, Answer(status=413), at)


def test_dead_letters_are_shown_in_the_order_of_what_happened(store: Store) -> None:
    tell(store, "m2", "acme", minutes=2)
    tell(store, "m1", "acme", minutes=1)
    tell(store, "m3", "globex", minutes=3)
    reject(store, NOW + timedelta(minutes=9))
    with store.read() as connection:
        every = letters.dead(connection)
        own = letters.dead(connection, "we_0")
        late = letters.dead(connection, "we_1", NOW + timedelta(minutes=2))
        first = letters.dead(connection, count=1)
        counts = letters.dead_counts(connection)
    assert [one.delivery.message for one in every] == ["m1", "m1", "m2", "m2", "m3"]
    assert [one.delivery.message for one in own] == ["m1", "m2"]
    assert [one.delivery.message for one in late] == ["m2", "m3"]
    assert first == every[:1]
    assert counts == {"we_0": 2, "we_1": 3}
    assert {(one.kind, one.delivery.last_status, one.fault) for one in every} == {
        ("invoice.paid", 413, None)
    }


def test_the_newest_are_those_that_moved_last_with_why_there_was_no_answer(store: Store) -> None:
    tell(store, "m1", "globex")
    tell(store, "m2", "globex", seconds=1)
    with store.write() as connection:
        (begun,) = [
            one.delivery
            for one in Outbox(PRIVATE).lease(connection, NOW + WAITS[0])
            if one.delivery.message == "m1"
        ]
        settle(connection, begun, Answer(), NOW + timedelta(seconds=2), "timeout")
    with store.read() as connection:
        found = letters.newest(connection, "we_1", 5)
        one = letters.find(connection, begun.id)
        assert letters.newest(connection, "we_1", 0) == []
        assert letters.newest(connection, "we_0", 5) == []
        assert letters.find(connection, "absent") is None
    assert [letter.delivery.message for letter in found] == ["m1", "m2"]
    assert one is not None
    assert one == found[0]
    assert (one.fault, one.delivery.state) == ("timeout", "pending")
    assert rules.verdict(one.delivery.last_status) == "retry"
