"""Endpoints of webhooks as guarded rows, on both engines: every change is vouched for, and what is put past a leaf is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from control_plane.audit.recorder import LeafRecorder, guard, guarded_rows
from control_plane.billing.delivery import Answer
from control_plane.billing.hook_rounds import SCOPE
from control_plane.billing.outbox import Message, Outbox, publish
from control_plane.billing.webhook_endpoints import Endpoint
from control_plane.domain.tenant import Tenant
from control_plane.handlers.webhook_leaves import TABLE, forgotten_with_leaf, settled_with_leaf
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from control_plane.store import rows, tables
from control_plane.store.webhook_tables import webhook_endpoint
from server.hook_desk import HookDesk
from tests.support.hooks import TestClock, hook_store

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
PRIVATE, PUBLIC = new_keypair()
URL = "https://hooks.example.com/paybill"
ACTS: dict[str, Callable[[HookDesk, Connection, str], object]] = {
    "disable": lambda desk, c, name: desk.disable(c, name),
    "enable": lambda desk, c, name: desk.enable(c, name),
    "rotate": lambda desk, c, name: desk.rotate(c, name),
    "remove": lambda desk, c, name: desk.remove(c, name),
}


class Numbers:
    """Ids in the order in which they are asked for."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def seed(self) -> str:
        return f"00000000-0000-0000-0000-{next(self._numbers):012}"

    def new(self) -> str:
        return f"{next(self._numbers):032x}"


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """One engine after the other, with one tenant."""
    with hook_store(request.param, tmp_path, request) as opened:
        given = {"id": "acme", "display_name": "Acme", "isolation": "pooled", "plan": "team"}
        stands = {"region": "local", "state": "active", "access_mode": "full"}
        with opened.write() as connection:
            rows.put(connection, tables.tenant, Tenant.model_validate({**given, **stands}))
        yield opened


@pytest.fixture
def desk() -> HookDesk:
    ids, clock = Numbers(), TestClock(NOW)
    return HookDesk(PUBLIC, LeafRecorder(PUBLIC, clock, ids), clock, ids)


class Watched:
    """One endpoint, and the leaves about it as they come."""

    def __init__(self, store: Store, desk: HookDesk) -> None:
        self.store = store
        self._seen = set[str]()
        with store.write(SCOPE) as connection:
            self.made: Endpoint = desk.add(connection, URL, "acme", ("*",))[0]

    def digest(self) -> str | None:
        with self.store.read() as connection:
            return guard(connection, TABLE, self.made.id).digest

    def news(self) -> list[str | None]:
        """What leaves say that are new: how they found the row. It stands as they say."""
        leaf = tables.audit_leaf.c
        with self.store.read() as connection:
            every = connection.execute(select(leaf.id, leaf.guards)).all()
            standing = guarded_rows(connection).get((TABLE, self.made.id))
        new = [guards for name, guards in every if name not in self._seen]
        self._seen |= {name for name, _ in every}
        told = [one for guards in new for one in guards]
        assert all((one["key"], one["digest"]) == (self.made.id, standing) for one in told)
        return [one["before"] for one in told]


@pytest.fixture
def watched(store: Store, desk: HookDesk) -> Watched:
    return Watched(store, desk)


def test_each_act_of_the_operator_is_vouched_for_and_chained_to_the_one_before(
    watched: Watched, desk: HookDesk
) -> None:
    assert watched.news() == ["absent"]
    for act in ACTS.values():
        before = watched.digest()
        with watched.store.write(SCOPE) as connection:
            act(desk, connection, watched.made.id)
        assert watched.digest() != before
        assert watched.news() == [before]


def test_a_message_changes_no_endpoint_and_is_vouched_for_by_nobody(
    watched: Watched, desk: HookDesk
) -> None:
    watched.news()
    before = watched.digest()
    with watched.store.write(SCOPE) as connection:
        desk.test(connection, watched.made.id)
    assert (watched.news(), watched.digest()) == ([], before)


@pytest.mark.parametrize("column", ["secret", "url", "tenant", "removed_at"])
def test_what_is_put_past_a_leaf_is_found_out(watched: Watched, column: str) -> None:
    before = watched.digest()
    put = {"secret": b"another", "url": "https://other.example", "tenant": "", "removed_at": "x"}
    with watched.store.write(SCOPE) as connection:
        connection.execute(update(webhook_endpoint).values({column: put[column]}))
    assert watched.digest() not in (None, before)


@pytest.mark.parametrize("status", [410, 413, 204, None])
def test_an_attempt_has_a_leaf_only_where_it_disables_the_endpoint(
    watched: Watched, desk: HookDesk, status: int | None
) -> None:
    watched.news()
    before = watched.digest()
    with watched.store.write("acme") as connection:
        for name in ("one", "two"):
            publish(connection, Message(id=name, tenant="acme", kind="a", data={}, made_at=NOW))
    with watched.store.write(SCOPE) as connection:
        for parcel in Outbox(PRIVATE).lease(connection, NOW):
            answer = Answer(status=status)
            settled_with_leaf(desk.recorder, connection, parcel.delivery, answer, NOW, None)
    # The second 410 finds it disabled.
    assert watched.news() == ([before] if status == 410 else [])
    assert (watched.digest() != before) == (status == 410)


def test_what_is_forgotten_with_its_tenant_is_said_to_be_gone(
    watched: Watched, desk: HookDesk
) -> None:
    watched.news()
    before = watched.digest()
    for expected in ([before], []):
        with (
            watched.store.write("acme") as connection,
            forgotten_with_leaf(connection, desk.recorder, "acme"),
        ):
            connection.execute(webhook_endpoint.delete())
        assert watched.news() == expected
    assert watched.digest() is None
