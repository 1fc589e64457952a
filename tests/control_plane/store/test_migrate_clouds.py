"""The column that says in which cloud a tenant stands: rows and leaves of before stay true. Not the other tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import insert, select, text

from control_plane.audit.leaf import Guard, row_digest
from control_plane.audit.recorder import guard, guarded_rows
from control_plane.audit.verify import verify
from control_plane.domain.isolation import CLOUDS, Cloud
from control_plane.domain.tenant import Tenant
from control_plane.store import migrate, rows, tables
from control_plane.store.migrate import upgrade
from control_plane.store.sqlite import SqliteStore
from tests.control_plane.audit.audit_world import KEY, World

BEFORE: Final = "0010"
ROW: Final[dict[str, Any]] = Tenant(
    id="acme",
    display_name="A tenant",
    state="active",
    isolation="silo",
    plan="team",
    region="local",
).model_dump(mode="json", exclude={"cloud", "server", "slot"})


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of before the column, with one tenant."""
    with monkeypatch.context() as earlier:
        earlier.setattr(migrate, "HEAD", BEFORE)
        upgrade(tmp_path / "store.db")
    store = SqliteStore(tmp_path / "store.db")
    with store.write() as connection:
        names = {row[1] for row in connection.execute(text("PRAGMA table_info(tenant)"))}
        assert "cloud" not in names
        connection.execute(insert(tables.tenant).values(ROW))
    store.close()
    return tmp_path / "store.db"


def guard_of_before(path: Path) -> Guard:
    """What a leaf of then said of the row: the digest of all its columns of then."""
    store = SqliteStore(path)
    with store.read() as connection:
        row = connection.execute(text("SELECT * FROM tenant")).mappings().one()
        columns = [one for one in tables.tenant.columns if one.name in row]
        told = connection.execute(select(*columns)).mappings().one()
    store.close()
    return Guard(table="tenant", key="acme", digest=row_digest(dict(told)))


def findings(path: Path, world: World) -> set[str]:
    store = SqliteStore(path)
    with store.read() as connection:
        standing = guarded_rows(connection)
    store.close()
    return {str(one.code) for one in verify(world.log, KEY, rows=standing).findings}


def test_a_leaf_of_before_the_column_still_accounts_for_its_tenants_row(path: Path) -> None:
    world, before = World(), guard_of_before(path)
    world.checkpoint(1, before)
    upgrade(path)
    store = SqliteStore(path)
    with store.read() as connection:
        assert guard(connection, "tenant", "acme") == before
        tenant = rows.first(connection, tables.tenant, Tenant, tables.tenant.c.id == "acme")
    store.close()
    assert tenant is not None
    assert tenant.cloud == "local"
    assert findings(path, world) == set()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_cloud_that_is_written_behind_our_back_is_found(path: Path, cloud: Cloud) -> None:
    world = World()
    world.checkpoint(1, guard_of_before(path))
    upgrade(path)
    store = SqliteStore(path)
    with store.write() as connection:
        connection.execute(tables.tenant.update().values(cloud=cloud))
    store.close()
    assert findings(path, world) == {"row_altered"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_tenants_cloud_is_read_as_it_was_written(path: Path, cloud: Cloud) -> None:
    upgrade(path)
    given: dict[str, Any] = {**ROW, "id": "globex", "cloud": cloud, "suspend_reasons": frozenset()}
    written = Tenant.model_validate(given)
    store = SqliteStore(path)
    with store.write() as connection:
        rows.put(connection, tables.tenant, written)
        raw = connection.execute(text("SELECT cloud FROM tenant WHERE id = 'globex'")).scalar()
        found = rows.first(connection, tables.tenant, Tenant, tables.tenant.c.id == "globex")
    store.close()
    assert found == written
    assert raw == (None if cloud == "local" else cloud)
