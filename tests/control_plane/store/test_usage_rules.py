"""What both databases hold usage events to, whoever writes. Not what our own code records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.exc import IntegrityError

from control_plane.domain.tenant import Tenant
from control_plane.ports import Store
from control_plane.store import rows, tables
from control_plane.store.usage_tables import usage_event
from tests.support.ledgers import opened_store

KEPT = [
    "UPDATE usage_event SET quantity = '2'",
    "UPDATE usage_event SET received_at = received_at",
    "DELETE FROM usage_event",
    """INSERT INTO usage_event SELECT * FROM usage_event WHERE true
    ON CONFLICT (tenant, source, id) DO UPDATE SET quantity = '2'""",
]
ONLY = {
    "sqlite": ["UPDATE OR REPLACE usage_event SET id = 'other'"],
    "postgres": ["TRUNCATE usage_event"],
}
AT = "2026-03-01T10:00:00.000000+00:00"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def store(
    engine: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("store")
    with opened_store(engine, folder, request) as opened:
        with opened.write() as connection:
            for tenant, state in (("acme", "active"), ("globex", "deprovisioned")):
                _born(connection, tenant, state)
                connection.execute(insert(usage_event), _event(tenant))
            connection.execute(insert(usage_event), _event("unheard"))
        yield opened


def _born(connection: Connection, tenant: str, state: str) -> None:
    told = {
        "id": tenant,
        "display_name": tenant,
        "state": state,
        "isolation": "pooled",
        "plan": "free",
        "region": "local",
    }
    rows.put(connection, tables.tenant, Tenant.model_validate(told))


def _event(tenant: str) -> dict[str, str]:
    return {
        "tenant": tenant,
        "source": "app",
        "id": "1",
        "meter": "calls",
        "quantity": "1",
        "counted_key": "",
        "occurred_at": AT,
        "received_at": AT,
        "period_start": AT,
    }


def test_the_database_lets_nobody_change_or_remove_an_event(store: Store, engine: str) -> None:
    """Asked by the login that owns the tables: there is none that may do more."""
    with store.read() as connection:
        before = connection.execute(select(usage_event)).all()
    for forbidden in KEPT + ONLY[engine]:
        with (
            pytest.raises(IntegrityError, match="a usage event"),
            store.write() as connection,
        ):
            connection.execute(text(forbidden))
        with store.read() as connection:
            assert connection.execute(select(usage_event)).all() == before, forbidden


def test_a_repeat_is_still_passed_over(store: Store) -> None:
    passed = "INSERT INTO usage_event SELECT * FROM usage_event WHERE true ON CONFLICT DO NOTHING"
    with store.write() as connection:
        assert connection.execute(text(passed)).rowcount == 0


def test_what_a_tenant_used_may_go_once_the_tenant_is_gone(store: Store) -> None:
    for tenant in ("acme", "unheard"):
        with (
            pytest.raises(IntegrityError, match="as long as its tenant"),
            store.write() as connection,
        ):
            connection.execute(delete(usage_event).where(usage_event.c.tenant == tenant))
    with store.write() as connection:
        connection.execute(delete(usage_event).where(usage_event.c.tenant == "globex"))
        left = connection.execute(select(usage_event.c.tenant)).scalars()
        assert sorted(left) == ["acme", "unheard"]
