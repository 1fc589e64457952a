"""What a tenant's place says of the migrations it has had: one row each. Not the migrations, nor our store.

The rows are the place's: tenants that share tables share them. A migration that has committed has
left its row in the same transaction, so that whoever repeats it after a kill finds it done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    MetaData,
    Table,
    delete,
    insert,
    inspect,
    select,
    update,
)

from control_plane.data.table_types import UtcTimestamp, short_text

MigratedState: TypeAlias = Literal["begun", "done"]

MIGRATED: Final = Table(
    "paybill_migrated",
    MetaData(),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("name", short_text(200), nullable=False),
    Column("digest", short_text(64), nullable=False),
    Column("state", short_text(10), nullable=False),
    Column("before", short_text(64), nullable=False),
    Column("after", short_text(64), nullable=False),
    # The team's tables that stand behind it, by name.
    Column("tables", JSON, nullable=False),
    # What to go back to while it is `begun`: definitions of indexes, by name.
    Column("restore", JSON, nullable=False),
    Column("changed_at", UtcTimestamp, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Migrated:
    """One migration in a place; `before` and `after` are digests of what stood, empty while begun."""

    number: int
    name: str
    digest: str
    state: MigratedState
    before: str
    after: str
    tables: tuple[str, ...]
    restore: Mapping[str, str]


def has_migrated(connection: Connection) -> bool:
    """Whether the place has had any migration at all."""
    return inspect(connection).has_table(MIGRATED.name)


def migrated(connection: Connection) -> dict[int, Migrated]:
    """What the place says, by number; nothing where it has had none."""
    if not has_migrated(connection):
        return {}
    found = connection.execute(select(MIGRATED).order_by(MIGRATED.c.number)).mappings()
    return {int(one["number"]): _read(one) for one in found}


def team_tables(connection: Connection) -> frozenset[str]:
    """The tables that migrations have made in the place, with the one that tells of them."""
    rows = migrated(connection)
    if not rows:
        return frozenset({MIGRATED.name}) if has_migrated(connection) else frozenset()
    return frozenset({MIGRATED.name, *rows[max(rows)].tables})


def tables_behind(rows: Mapping[int, Migrated]) -> tuple[str, ...]:
    """The team's tables after the last migration that is done."""
    done = [one for one in rows.values() if one.state == "done"]
    return max(done, key=lambda one: one.number).tables if done else ()


def begin(connection: Connection, row: Migrated, now: datetime) -> None:
    """Say that it is under way, and what to go back to; again changes nothing."""
    known = select(MIGRATED.c.number).where(MIGRATED.c.number == row.number)
    if connection.execute(known).first() is None:
        connection.execute(insert(MIGRATED).values(**_values(row, "begun", now)))


def finish(connection: Connection, row: Migrated, now: datetime) -> None:
    """Say that it stands."""
    mine = MIGRATED.c.number == row.number
    values = _values(row, "done", now)
    if connection.execute(update(MIGRATED).where(mine).values(**values)).rowcount == 0:
        connection.execute(insert(MIGRATED).values(**values))


def forget(connection: Connection, number: int) -> None:
    """Say nothing of one that was taken back."""
    connection.execute(delete(MIGRATED).where(MIGRATED.c.number == number))


def _values(row: Migrated, state: MigratedState, now: datetime) -> dict[str, Any]:
    return {
        "number": row.number,
        "name": row.name,
        "digest": row.digest,
        "state": state,
        "before": row.before,
        "after": row.after,
        "tables": list(row.tables),
        "restore": dict(row.restore),
        "changed_at": now,
    }


def _read(row: Mapping[Any, Any]) -> Migrated:
    tables: Sequence[str] = row["tables"]
    return Migrated(
        number=int(row["number"]),
        name=row["name"],
        digest=row["digest"],
        state=row["state"],
        before=row["before"],
        after=row["after"],
        tables=tuple(tables),
        restore=dict(row["restore"]),
    )
