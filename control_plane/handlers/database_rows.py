"""The rows of tenants' databases: which there are, where they stand, and each move of their machine. Not the databases."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from control_plane.domain.canonical import digest, instant
from control_plane.domain.database import DATABASE, Database, DatabasePurpose, DatabaseState
from control_plane.domain.home import MAIN, SLOTS, Home
from control_plane.domain.isolation import Isolation
from control_plane.domain.tenant import Tenant
from control_plane.errors import Refused
from control_plane.facts.load import tenant_row
from control_plane.handlers.handler import Work
from control_plane.store import rows, tables
from control_plane.store.database_tables import database

# A tenant in one of these has no database, or only what a run has in its hands.
_WITHOUT: Final = frozenset(
    {"pending", "provisioning", "deprovisioned", "restoring", "purging", "purged"}
)
# In these a database has not been made yet, or may be gone already.
_NOT_THERE: Final = ("creating", "failed", "deleting", "deleted")
_SHUT: Final = frozenset({"suspended", "resuming", "deprovisioning", "deprovision_failed"})


def standing(connection: Connection, tenant: Tenant) -> list[Database]:
    """Every database of the tenant that is not deleted, the serving one first.

    One that was made before there were rows of databases is told as it must be.
    """
    table = database.c
    where = (table.tenant == tenant.id) & (table.state != "deleted")
    found = rows.every(connection, database, Database, where, order_by=table.made_at)
    if not any(one.purpose == "serving" for one in found):
        found += implied(tenant)
    return sorted(found, key=lambda one: one.purpose != "serving")


def serving(connection: Connection, tenant: Tenant) -> Database | None:
    """The database that the tenant's calls go to; None where it has none."""
    return next((one for one in standing(connection, tenant) if one.purpose == "serving"), None)


def database_row(connection: Connection, database_id: str) -> Database | None:
    """The database of that id, deleted or not; None for one that has no row."""
    return rows.by(connection, database.c.id, Database, database_id)


def homes(connection: Connection) -> list[tuple[str, Home]]:
    """Where databases of tenants stand or may stand, by tenant: of each the serving one's first."""
    table = tables.tenant.c
    known = select(table.id, table.isolation, table.server, table.slot).order_by(table.id)
    found: dict[tuple[str, Home], None] = {
        (row.id, Home(row.isolation, row.server or MAIN, row.slot or 0)): None
        for row in connection.execute(known)
    }
    other = database.c
    more = select(other.tenant, other.isolation, other.server, other.slot)
    for row in connection.execute(more.where(other.state != "deleted").order_by(other.tenant)):
        found[(row.tenant, Home(row.isolation, row.server, row.slot))] = None
    return list(found)


def stands_on(connection: Connection, server: str) -> bool:
    """Whether a database was made on a server and is not known to be gone, or on its way out."""
    table = database.c
    stands = (table.server == server) & table.state.not_in(_NOT_THERE)
    return connection.execute(select(table.id).where(stands).limit(1)).first() is not None


def free_home(connection: Connection, tenant: Tenant, model: Isolation, server: str) -> Home:
    """The first place of that model there in which nothing of the tenant stands.

    Refused (`no_place_left`).
    """
    taken = {one.home for one in standing(connection, tenant)}
    for slot in SLOTS:
        if (home := Home(model, server, slot)) not in taken:
            return home
    raise Refused("Every place for its databases is taken.", code="no_place_left", rule="slots")


def add_database(
    work: Work, connection: Connection, home: Home, purpose: DatabasePurpose
) -> Database:
    """Write down that this run makes a database; the same one at each try."""
    identity = digest({"database": [work.run.id, *home]})[:32]
    if (known := database_row(connection, identity)) is not None:
        return known
    now = instant(work.ports.clock.now())
    made = Database(
        id=identity,
        tenant=work.run.tenant,
        server=home.server,
        isolation=home.isolation,
        slot=home.slot,
        purpose=purpose,
        state="creating",
        run_id=work.run.id,
        made_at=now,
        changed_at=now,
    )
    work.vouch(connection, database.name, made.id)
    rows.put(connection, database, made)
    return made


def settle_database(work: Work, connection: Connection, event: str, **values: object) -> None:
    """Fire one event on the database that serves the tenant, where its machine has that event.

    A tenant that never came as far as to have one, or whose database is past it, has none to move.
    """
    tenant = tenant_row(connection, work.run.tenant)
    found = None if tenant is None else serving(connection, tenant)
    if found is not None and event in DATABASE.legal(found.state):
        move_database(work, connection, found, event, **values)


def begin_database(work: Work, connection: Connection) -> None:
    """Write down that this run makes the database that is to serve its tenant.

    Where an earlier run has failed to, that one's is made anew, where the tenant is to stand now.
    """
    tenant = tenant_row(connection, work.run.tenant)
    assert tenant is not None, "a tenant is written before its database"
    found = serving(connection, tenant)
    if found is None:
        add_database(work, connection, tenant.home, "serving")
    else:
        home = tenant.home._asdict()
        move_database(work, connection, found, "create", **home)


def move_database(
    work: Work, connection: Connection, moved: Database, event: str, **values: object
) -> DatabaseState:
    """Fire one event of the database's machine; returns the new state.

    Refused where it is not legal, and (``database_moved``) where the row is no longer the one in
    hand.
    """
    state = DATABASE.next(moved.state, event)
    _write(work, connection, moved, {**values, "state": state})
    return state  # type: ignore[return-value]


def change_database(
    work: Work, connection: Connection, changed: Database, **values: object
) -> None:
    """Change what is no matter of the machine. Refused (``database_moved``)."""
    _write(work, connection, changed, values)


def _write(
    work: Work, connection: Connection, changed: Database, values: dict[str, object]
) -> None:
    work.vouch(connection, database.name, changed.id)
    if database_row(connection, changed.id) is None:
        # It stood before there were rows of databases.
        rows.put(connection, database, changed)
    table = database.c
    asserted = (table.id == changed.id) & (table.version == changed.version)
    now = instant(work.ports.clock.now())
    mine = {"run_id": work.run.id, "changed_at": now, "version": changed.version + 1}
    if rows.change(connection, database, asserted, **{**mine, **values}) != 1:
        raise Refused(
            "The database changed in the meantime.", code="database_moved", fact="database_state"
        )


def implied(tenant: Tenant) -> list[Database]:
    """The database of a tenant that has no row of a serving one, as it must be; none where it has none."""
    if tenant.state in _WITHOUT:
        return []
    state: DatabaseState = "stopped" if tenant.state in _SHUT else "available"
    if tenant.state == "provision_failed":
        state = "failed"
    made = Database(
        id=digest({"database": [tenant.id, *tenant.home]})[:32],
        tenant=tenant.id,
        server=tenant.server,
        isolation=tenant.isolation,
        slot=tenant.slot,
        purpose="serving",
        state=state,
        run_id="",
        made_at="",
        changed_at="",
    )
    return [made]
