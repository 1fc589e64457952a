"""The two ends of a move on any engine and in any model, with a tenant's rows in them. Holds no test."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, insert, select

from control_plane.data.collection import SAMPLES, Collection, bind_collections, load_collection
from control_plane.data.moving import moved_between
from control_plane.data.moving_ends import MovingEnd
from control_plane.data.moving_parts import Moved, Part
from control_plane.data.tables import APPLIED, UNDO, collection_table
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Place
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.isolation import Isolation
from tests.support.evolutions import declared
from tests.support.moving_team import bring, fill_team, told_alike
from tests.support.rows import row_id
from tests.support.tenants import TenantServer, workspace

_LEFT: Final = """SELECT tgname FROM pg_trigger WHERE tgname LIKE 'paybill_moving%'
    UNION SELECT relname FROM pg_class WHERE relname LIKE 'paybill_moving%'
        OR relname LIKE 'paybill_outbox%'
    UNION SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
        WHERE nspname = 'paybill' AND (proname LIKE 'note_%' OR proname LIKE 'refuse_%')"""
NOW: Final = datetime(2024, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
# People and teams refer to each other and to themselves, notes to people; a value of each kind is there.
PEOPLE: Final = declared(
    "people",
    {
        "name": {"kind": "string", "max_length": 20},
        "badge": {"kind": "integer", "unique": True, "nullable": True},
        "boss": {"kind": "reference", "collection": "people", "nullable": True},
        "team": {"kind": "reference", "collection": "teams", "nullable": True},
        "coin": {"kind": "reference", "collection": "currencies", "nullable": True},
        "pay": {"kind": "decimal", "precision": 8, "scale": 2},
        "born": {"kind": "date", "nullable": True},
        "seen": {"kind": "timestamp", "nullable": True},
        "active": {"kind": "boolean", "nullable": True},
        "details": {"kind": "json", "max_length": 200, "nullable": True},
        "more": {"kind": "computed", "formula": {"op": "sum", "fields": ["pay", "pay"]}},
    },
)
TEAMS: Final = declared(
    "teams", {"lead": {"kind": "reference", "collection": "people", "nullable": True}}
)
NOTES: Final = declared(
    "notes",
    {
        "text": {"kind": "text"},
        "order": {"kind": "integer", "unique": True, "nullable": True},
        "person": {"kind": "reference", "collection": "people"},
    },
)
CURRENCIES: Final = load_collection(SAMPLES / "currencies.yaml")
ALL: Final[Sequence[Collection]] = bind_collections([PEOPLE, TEAMS, NOTES, CURRENCIES])
PERSON: Final = collection_table(PEOPLE)
TEAM: Final = collection_table(TEAMS)
NOTE: Final = collection_table(NOTES)


@dataclass(frozen=True)
class Spot:
    """A tenant's place: which engine, which model; `server` where that is Postgres."""

    databases: DatabaseEngine
    model: Isolation
    tenant: str = "acme"
    server: TenantServer | None = None

    @property
    def moved(self) -> Moved:
        """What is moved of the tenant, told as on any other engine."""
        with self.databases.reading(self.tenant, self.model) as connection:
            shape = team_shape(connection)
        return Moved(ALL, self.tenant, shape, told_alike(shape))

    def moved_to(self, target: Spot) -> Moved:
        """The same, between two places."""
        return moved_between(self.end(), target.end(), ALL, self.tenant)

    def end(self, epoch: int = 2) -> MovingEnd:
        """The place as an end of a move, for the run that holds the tenant at `epoch`."""
        return self.databases.moving(self.tenant, self.model, epoch)

    def made(self) -> Spot:
        """The same, with the tenant in it, open at epoch 1."""
        self.databases.create(self.tenant, self.model, ALL, 1)
        with self.databases.altering(self.tenant, self.model) as place:
            bring(place, self.tenant, 1, ALL)
        return self

    def closed(self) -> Spot:
        """The same, made and closed: as a target is."""
        self.made()
        self.databases.fence(self.tenant, self.model, 1, open=False)
        return self

    def rows(self) -> dict[str, dict[str, dict[str, Any]]]:
        """All of the tenant's rows by table and key."""
        with self.databases.reading(self.tenant, self.model) as connection:
            return rows_of(connection, self.moved)


def rows_of(connection: Connection, moved: Moved) -> dict[str, dict[str, dict[str, Any]]]:
    """All of the tenant's rows by table and key, computed values too."""
    return {
        name: {
            "/".join(str(row[key.name]) for key in part.keys): _alike(part, row)
            for row in connection.execute(
                select(part.table).where(part.of(moved.tenant))
            ).mappings()
        }
        for name, part in moved.parts.items()
    }


def _alike(part: Part, row: Mapping[Any, Any]) -> dict[str, Any]:
    """What engines write in different ways is told in one."""
    if not part.is_team:
        return dict(row)
    said: Any = part.told({str(name): value for name, value in row.items()})
    return dict(zip((one.name for one in part.columns), said, strict=True))


def fill(spot: Spot, people: int = 3) -> None:
    """People who are each other's bosses, a team, notes, proofs and images; the team's own rows."""
    mine = {"tenant_id": spot.tenant, "version": 1, "created_at": NOW}
    notes = [
        {
            **mine,
            "id": row_id(500_000 + number),
            "text": f"tab\t new\n line \\N {number}",
            "order": number,
            "person": row_id(number),
        }
        for number in range(1, people + 1)
    ]
    every = [{**mine, **person(number, people)} for number in range(1, people + 1)]
    team = {**mine, "id": row_id(900), "lead": row_id(1)}
    proof = {"tenant_id": spot.tenant, "call_id": "c1", "digest": "d", "applied_at": NOW}
    images = [[row_id(1), 1, {"name": "x"}]]
    kept = {"tenant_id": spot.tenant, "call_id": "c1", "images": images, "kept_at": NOW}
    with spot.databases.transaction(spot.tenant, spot.model) as connection:
        for table, rows in ((TEAM, [team]), (PERSON, every), (NOTE, notes)):
            connection.execute(insert(table), rows)
        connection.execute(insert(APPLIED).values(proof))
        connection.execute(insert(UNDO).values(kept))
        fill_team(connection, spot.tenant, people)


def person(number: int, people: int) -> dict[str, Any]:
    """Values of one; the boss is the next one, and the last one's is the first."""
    return {
        "id": row_id(number),
        "name": f"n{number} é",
        "badge": number,
        "boss": row_id(number % people + 1),
        "team": row_id(900),
        "coin": None,
        "pay": Decimal("10.50") + number,
        "born": NOW.date(),
        "seen": NOW,
        "active": None if number % 3 == 0 else bool(number % 2),
        "details": {"a": [1, "x", None], "b": {"c": number}},
    }


@contextmanager
def spot_on(kind: str, model: Isolation, root: Path, logins: TenantServer) -> Generator[Spot]:
    """A place on a server of its own, `sqlite` or `postgres`, on which nothing stands yet."""
    if kind == "sqlite":
        databases = SqliteDatabases(root / uuid4().hex, busy_timeout_ms=2_000)
        yield Spot(databases, model)
        databases.close()
        return
    with workspace(logins) as server, server.engine() as engine:
        yield Spot(engine, model, server=server)


def files_of(spot: Spot) -> Path:
    """The file of a tenant's rows on SQLite."""
    assert isinstance(spot.databases, SqliteDatabases)
    return spot.databases._files.place(spot.tenant, spot.model).rows


def place_of(spot: Spot) -> Place:
    """The names of a tenant's place on Postgres."""
    assert isinstance(spot.databases, PostgresDatabases)
    return spot.databases._names.place(spot.tenant, spot.model)


def left_by_a_move(spot: Spot) -> set[str]:
    """The names of whatever capturing made where the tenant's rows lie."""
    if isinstance(spot.databases, SqliteDatabases):
        with closing(sqlite3.connect(files_of(spot))) as raw:
            every = {str(name) for (name,) in raw.execute("SELECT name FROM sqlite_master")}
        return {name for name in every if name.startswith(("paybill_moving", "paybill_outbox"))}
    assert spot.server is not None
    with spot.server.raw(spot.server.owner, place_of(spot).database) as raw:
        found = raw.execute(_LEFT).fetchall()
    return {str(name) for (name,) in found}
