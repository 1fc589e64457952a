"""The handlers that list tenants' databases and read one. They change none, and read no row of a tenant's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Connection, select, true

from control_plane.commands import Command
from control_plane.data.cursor import open_end, seal_end
from control_plane.data.record_count import records_of
from control_plane.database_commands import GetDatabase, ListDatabases
from control_plane.databases.served import served
from control_plane.domain.canonical import Json, digest, instant
from control_plane.domain.database import DATABASE, Database
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.errors import PaybillError
from control_plane.facts.load import Standing, standing_of, standings, subscription_row, tenant_row
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers import backups
from control_plane.handlers.database_rows import database_row, implied, standing
from control_plane.handlers.database_subject import PLACE, absent_database, database_facts
from control_plane.handlers.drift_checks import step_note
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.newest import within_grant
from control_plane.store import rows, tables
from control_plane.store.database_tables import database, handover

# What one page looks at, whatever is left of it: a tenant has thirty at most on one server.
TENANTS_MAX: Final = 50
_Place = tuple[str, bool, str, str]


class _Scope(BaseModel):
    """What a cursor holds for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    caller: str
    databases_of: str


class _Listed(NamedTuple):
    """One of a page; asked about twice, the second time for where it stands."""

    database: Database
    place: bool


class _Scanned(NamedTuple):
    """Where the scan ended; None where it saw the last one."""

    end: _Place | None


class ListDatabasesHandler:
    """Lists the databases of the tenants that the caller may read."""

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace; each database is decided on its own."""
        return Subject(id="workspace", facts=WorkspaceFacts(), tenant=command.target())

    def page(self, command: Command, view: View) -> list[Subject]:
        """The next databases, each for itself and for its place; last the scan.

        Raises NotFound for a cursor of another caller or question.
        """
        assert isinstance(command, ListDatabases)
        begin = None
        if command.after is not None:
            tenant, *rest = open_end(view.ports.cursor_key, _scope(command, view), command.after)
            begin = (str(tenant), bool(rest[0]), str(rest[1]), str(rest[2]))
        tenants = _tenants(command, view, begin)
        known = standings(
            view.connection, [one.id for one in tenants], instant(view.ports.clock.now())
        )
        limit = min(command.limit, view.ports.limits.rows_max)
        found = [
            one for one in _found(view.connection, tenants) if begin is None or _at(one) > begin
        ]
        asked = [one for one in found if _is_asked_for(command, one)]
        shown = asked[:limit]
        by_id = {one.id: one for one in tenants}
        members = [
            Subject(
                id=one.id,
                facts=database_facts(
                    by_id[one.tenant], one, known.get(one.tenant, Standing()), member=True
                ),
                reads=("read", PLACE) if place else ("read",),
                tenant=one.tenant,
                loaded=_Listed(one, place),
            )
            for one in shown
            for place in (False, True)
        ]
        end: _Place | None = None
        if len(asked) > limit:
            end = _at(shown[-1])
        elif len(tenants) == TENANTS_MAX:
            # Behind every database that this tenant may have.
            end = (tenants[-1].id, True, "~", "")
        scan = Subject(id="scan", facts=WorkspaceFacts(), loaded=_Scanned(end))
        return [*members, scan]

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The databases, and where the next page begins."""
        assert isinstance(command, ListDatabases)
        *members, scan = page
        assert isinstance(scan.loaded, _Scanned), "whoever may list may read the workspace"
        listed = [one.loaded for one in members if isinstance(one.loaded, _Listed)]
        opened = {one.database.id for one in listed if one.place}
        told: list[Json] = [
            _told(one.database, place=one.database.id in opened) for one in listed if not one.place
        ]
        end, key = scan.loaded.end, view.ports.cursor_key
        after = None if end is None else seal_end(key, _scope(command, view), end)
        return {"databases": told, "next_after": after}


class GetDatabaseHandler(SingleAnswer):
    """Reads one database."""

    def subject(self, command: Command, view: View) -> Subject:
        """The database, there or not; another tenant's is not there."""
        assert isinstance(command, GetDatabase)
        tenant = tenant_row(view.connection, command.tenant)
        facts, found = absent_database(view, command.tenant), None
        if tenant is not None:
            found = _named(view.connection, tenant, command.database)
            now = instant(view.ports.clock.now())
            owing = standing_of(subscription_row(view.connection, tenant.id), now)
            facts = database_facts(tenant, found, owing, member=facts.member)
        return Subject(
            id=command.database or command.tenant,
            facts=facts,
            extras=(PLACE,),
            tenant=command.tenant,
            loaded=found,
        )

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The database as its row tells it, and what it says itself where it can be reached."""
        found = subject.loaded
        assert isinstance(found, Database), "the subject was decided to exist"
        return {
            **_told(found, place=PLACE in may),
            **_from_itself(view, found, place=PLACE in may),
            "verified_backup": _backup_of(view.connection, found),
            "handover_version": _handed_over(view.connection, found) if PLACE in may else None,
        }


def described_database(view: View, tenant: str) -> dict[str, Json]:
    """The database that serves a tenant, as whoever may run tenants is told of it."""
    found = tenant_row(view.connection, tenant)
    assert found is not None, "a run's tenant is never forgotten"
    serves = next(one for one in standing(view.connection, found) if one.purpose == "serving")
    return _told(serves, place=True)


def told_database(view: View, run: Run, step: str) -> dict[str, Json]:
    """The database that a step of a finished run has noted, as whoever may run tenants is told of it."""
    found = database_row(view.connection, str(step_note(view, run, step)["database"]))
    assert found is not None, "rows of databases are never deleted"
    return _told(found, place=True)


# Finding ---------------------------------------------------------------------------------------


def _tenants(command: ListDatabases, view: View, begin: _Place | None) -> list[Tenant]:
    table = tables.tenant
    wanted: ColumnElement[bool] = within_grant(view.caller, table.c.id)
    wanted &= table.c.id >= begin[0] if begin is not None else true()
    wanted &= table.c.id == command.tenant if command.tenant else true()
    return rows.every(
        view.connection, table, Tenant, wanted, order_by=table.c.id, limit=TENANTS_MAX
    )


def _found(connection: Connection, tenants: list[Tenant]) -> list[Database]:
    """All of the tenants', in the order in which they are told; one statement."""
    names = [one.id for one in tenants]
    where = database.c.tenant.in_(names) & (database.c.state != "deleted")
    found = rows.every(connection, database, Database, where, order_by=database.c.tenant)
    serve = {one.tenant for one in found if one.purpose == "serving"}
    told = [made for one in tenants if one.id not in serve for made in implied(one)]
    return sorted([*found, *told], key=_at)


def _named(connection: Connection, tenant: Tenant, identity: str) -> Database | None:
    known: Iterator[Database] = iter(standing(connection, tenant))
    if not identity:
        return next((one for one in known if one.purpose == "serving"), None)
    return next((one for one in known if one.id == identity), None)


def _at(one: Database) -> _Place:
    return (one.tenant, one.purpose != "serving", one.made_at, one.id)


def _is_asked_for(command: ListDatabases, one: Database) -> bool:
    fits_state = not command.state or one.state == command.state
    return fits_state and (not command.purpose or one.purpose == command.purpose)


def _scope(command: ListDatabases, view: View) -> _Scope:
    caller = f"{view.caller.principal}\0{view.caller.actor}"
    return _Scope(caller=caller, databases_of=digest(command.filter()))


# Telling ---------------------------------------------------------------------------------------


def _told(one: Database, *, place: bool) -> dict[str, Json]:
    return {
        "database": one.id,
        "tenant": one.tenant,
        "purpose": one.purpose,
        "isolation": one.isolation,
        "server": one.server if place else None,
        "slot": one.slot if place else None,
        "state": one.state,
        "events": [*DATABASE.legal(one.state)],
        "made_at": one.made_at or None,
        "changed_at": one.changed_at or None,
        "kept_until": one.kept_until,
        "run_id": one.run_id or None,
    }


def _from_itself(view: View, one: Database, *, place: bool) -> dict[str, Json]:
    """How many records it holds, and what it was made of; null where it does not answer."""
    told: dict[str, Json] = {"records": None, "schema_digest": None}
    try:
        with view.ports.databases.at(one.home).reading(one.tenant, one.isolation) as connection:
            told["records"] = records_of(connection, one.tenant)
            told["schema_digest"] = served(connection).current if place else None
    except PaybillError:
        return {**told, "reachable": False}
    return {**told, "reachable": True}


def _backup_of(connection: Connection, one: Database) -> Json:
    newest = backups.proven(connection, one.tenant)
    if newest is None:
        return None
    return {
        "backup": newest.id,
        "made_at": newest.made_at,
        "verified_at": newest.verified_at,
        "restorable_until": newest.keep_until,
    }


def _handed_over(connection: Connection, one: Database) -> int | None:
    table = handover.c
    wanted = select(table.version).where(table.tenant == one.tenant, table.database_id == one.id)
    return connection.execute(wanted).scalar_one_or_none()
