"""What stands of a tenant after a run: its row, stack, database, data, backups and real effects. Not what should."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, select, text

from control_plane.data.tables import APPLIED, FENCE, collection_table
from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import Isolation
from control_plane.errors import NotFound
from control_plane.facts.load import tenant_row
from control_plane.store import tables
from control_plane.store.logins import Names as Logins

if TYPE_CHECKING:
    from tests.unwind.site import Site

# Of the shipped stacks, and the one resource that the tests' copies add.
RESOURCES = {"pooled": 2, "bridge": 3, "silo": 3}
_SIDE_FILES = ("-wal", "-shm")


@dataclass(frozen=True)
class Standing:
    """All that there is of a tenant; two are equal when nothing is missing and nothing is left over.

    `database`: the names of what it has in the engine, the tenant's id written as ``*``.
    `open`: whether writes get in; ``split`` where store and database do not say the same.
    `data`: its rows, and the proofs of the calls that wrote them.
    `backups`: how many rows of backups, and how many files of archives.
    """

    state: str
    access: str
    reasons: tuple[str, ...]
    protected: bool
    restorable: bool
    resources: int
    database: tuple[str, ...]
    open: str
    data: tuple[Any, ...]
    backups: tuple[int, int]
    made: int
    gone: int


def whole(store: str, model: Isolation) -> tuple[str, ...]:
    """What a tenant that stands has in the engine."""
    files = {
        "silo": ("file silo/*.db", "file silo/*.reference.db"),
        "bridge": ("file bridge/*.db",),
        "pooled": ("place in pooled",),
    }
    objects = {
        "silo": ("database pb_*", "role pb_*", "role pb__la_*", "role pb__r0_*", "role pb__w0_*"),
        "bridge": (
            "role pb__br_*",
            "role pb__la_*",
            "role pb__p0_*",
            "role pb__q0_*",
            "schema bridge_*",
        ),
        "pooled": ("place in pooled", "role pb__la_*"),
    }
    return (files if store == "sqlite" else objects)[model]


def look(site: Site, tenant: str, model: Isolation) -> Standing:
    """Look at everything that there can be of a tenant."""
    with site.store.read() as connection:
        row = tenant_row(connection, tenant)
    assert row is not None
    made, gone = site.effects.of(tenant)
    return Standing(
        state=row.state,
        access=row.access_mode,
        reasons=tuple(sorted(row.suspend_reasons)),
        protected=row.deletion_protection,
        restorable=row.restorable_until is not None,
        resources=_resources(site, tenant),
        database=_database(site, tenant, model),
        open=_open(site, tenant, model),
        data=data_of(site, tenant, model),
        backups=_backups(site, tenant),
        made=made,
        gone=gone,
    )


def _resources(site: Site, tenant: str) -> int:
    folder = site.house.workspace.terraform / tenant
    assert not list(folder.glob(".operations/*")), "an operation's folder is left"
    texts = [state.read_text() for state in folder.glob("*/terraform.tfstate")]
    return sum(len(json.loads(one)["resources"]) for one in texts if one)


# The database --------------------------------------------------------------------------------


def data_of(site: Site, tenant: str, model: Isolation) -> tuple[Any, ...]:
    """The tenant's records, and the proofs of the calls that made them, in one order."""
    found: list[Any] = []
    try:
        with site.databases.reading(tenant, model) as connection:
            for table in (collection_table(site.contacts), APPLIED):
                mine = select(table).where(table.c.tenant_id == tenant)
                found += connection.execute(mine).all()
    except NotFound:
        return ()
    return tuple(sorted(found, key=str))


def _open(site: Site, tenant: str, model: Isolation) -> str:
    fence = tables.fence
    with site.store.read() as connection:
        said = select(fence.c.data_epoch).where(fence.c.tenant == tenant)
        epoch = connection.execute(said).scalar_one() or None
    if site.databases.open_at(tenant, model) != epoch:
        return "split"
    return "shut" if epoch is None else "open"


def _database(site: Site, tenant: str, model: Isolation) -> tuple[str, ...]:
    found = (
        files_standing(site, tenant)
        if site.postgres is None
        else objects_standing(site, site.postgres.owner, tenant)
    )
    return tuple(sorted([*found, *_place(site, tenant)]))


def files_standing(site: Site, tenant: str) -> list[str]:
    """Every file that is a tenant's alone, its id written as ``*``."""
    root = site.house.workspace.data
    paths = [path.relative_to(root) for path in root.rglob(f"*{tenant}*")]
    return [f"file {_plain(path, tenant)}" for path in paths if not _is_side_file(path)]


def _is_side_file(path: Path) -> bool:
    # SQLite keeps them beside a database that stands; without it they are left over.
    stems = [path.name.removesuffix(one) for one in _SIDE_FILES if path.name.endswith(one)]
    return any(path.with_name(stem).exists() for stem in stems)


def _plain(path: Path, tenant: str) -> str:
    return path.as_posix().replace(tenant, "*")


def objects_standing(site: Site, owner: URL, tenant: str) -> list[str]:
    """Every database, role and schema of a tenant's on a server, its id written as ``*``."""
    prefix = Logins(site.house.workspace.id).prefix
    asked = (
        ("database", "SELECT datname FROM pg_database WHERE starts_with(datname, :prefix)"),
        ("role", "SELECT rolname FROM pg_roles WHERE starts_with(rolname, :prefix)"),
    )
    found: list[str] = []
    server = create_engine(owner)
    with server.connect() as connection:
        for kind, statement in asked:
            names = connection.execute(text(statement), {"prefix": prefix}).scalars()
            found += [f"{kind} {name.replace(prefix, 'pb')}" for name in names]
    server.dispose()
    if f"database {Names('pb').shared}" in found:
        inside = create_engine(owner.set(database=Names(prefix).shared))
        with inside.connect() as connection:
            names = connection.execute(text("SELECT nspname FROM pg_namespace")).scalars()
            found += [f"schema {name}" for name in names]
        inside.dispose()
    return [one.replace(tenant, "*") for one in found if tenant in one]


def _place(site: Site, tenant: str) -> list[str]:
    """Its fence in the shared database, whatever its model is."""
    try:
        with site.databases.reading(tenant, "pooled") as connection:
            mine = select(FENCE.c.epoch).where(FENCE.c.tenant_id == tenant)
            found = connection.execute(mine).first() is not None
    except NotFound:
        return []
    return ["place in pooled"] if found else []


# Backups -------------------------------------------------------------------------------------


def _backups(site: Site, tenant: str) -> tuple[int, int]:
    table = tables.backup
    with site.store.read() as connection:
        ids: Sequence[str] = (
            connection.execute(
                select(table.c.id).where(table.c.tenant == tenant, table.c.removed_at.is_(None))
            )
            .scalars()
            .all()
        )
    folder = site.house.workspace.backups / tenant
    files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    parts = sorted(f"{one}.{part}" for one in ids for part in ("archive", "json"))
    assert files == parts, "an archive is nobody's"
    return len(ids), sum(one.endswith(".archive") for one in files)
