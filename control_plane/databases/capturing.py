"""What notes the changes of a tenant that is moved: its state and its outbox. Not the triggers.

Both stand only while a tenant is moved. On Postgres they are the owner's, apart from all rows; on
SQLite they lie in the file.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Identity,
    Integer,
    MetaData,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
    update,
)

from control_plane.data.moving_ends import Noted
from control_plane.data.table_types import short_text
from control_plane.data.tables import FENCE
from control_plane.databases.fencing import advance
from control_plane.errors import NotFound, Refused, Unavailable

_NAME_CHARS: Final = 63
_ENTRIES_PER_STEP: Final = 5_000


@dataclass(frozen=True, slots=True)
class State:
    """What is done with a tenant's changes; how many triggers do it, once every table has its own."""

    epoch: int
    triggers: int
    is_frozen: bool

    def is_whole(self, triggers: int) -> bool:
        """Whether every table is captured, where so many triggers stand.

        Raises Refused (`capture_lost`) where they have been, and some went: a table was made anew.
        """
        if self.triggers and self.triggers != triggers:
            raise Refused(
                "Not every change of the tenant was noted.", code="capture_lost", rule="capture"
            )
        return self.triggers > 0


class Capturing:
    """The two tables, as one tenant in one place has rows in them.

    `schema` is where they lie, and `place` what the tenant's own schema is called; on SQLite none.
    """

    def __init__(self, tenant: str, *, schema: str | None, place: str) -> None:
        self.tenant = tenant
        self.place = place
        self.metadata = MetaData(schema=schema)
        whose = ("place", short_text(_NAME_CHARS)), ("tenant_id", short_text(40))
        self.state = Table(
            "paybill_moving",
            self.metadata,
            *(Column(name, kind, primary_key=True) for name, kind in whose),
            Column("epoch", BigInteger, nullable=False),
            Column("is_noted", Boolean, nullable=False),
            Column("triggers", BigInteger, nullable=False),
            Column("is_frozen", Boolean, nullable=False),
        )
        number = BigInteger().with_variant(Integer(), "sqlite")
        self.outbox = Table(
            "paybill_outbox",
            self.metadata,
            Column("entry", number, Identity(always=True), primary_key=True),
            *(Column(name, kind, nullable=False) for name, kind in whose),
            Column("collection", short_text(_NAME_CHARS), nullable=False),
            # A key of the team's own may be of any length: to note it must never fail who writes.
            Column("row_key", Text, nullable=False),
        )

    def stands(self, connection: Connection) -> bool:
        """Whether anybody in the database is moved."""
        return inspect(connection).has_table(self.state.name, schema=self.state.schema)

    def is_left(self, connection: Connection) -> bool:
        """Whether anybody is on the way out of the place: its tables must stay as they are.

        Who is frozen has left. If not quite, the move finds that they are not those of its target.
        """
        if not self.stands(connection):
            return False
        state = self.state.c
        going = select(state.tenant_id).where(state.place == self.place, ~state.is_frozen)
        return connection.execute(going.limit(1)).first() is not None

    def known(self, connection: Connection) -> State | None:
        """What is done with the tenant's changes, if anything."""
        if not self.stands(connection):
            return None
        columns = self.state.c.epoch, self.state.c.triggers, self.state.c.is_frozen
        found = connection.execute(select(*columns).where(*self._mine(self.state))).one_or_none()
        return None if found is None else State(*found)

    def begin(self, connection: Connection, epoch: int, triggers: int) -> bool:
        """Have a state, at `epoch`; whether every table was captured before.

        Raises NotFound, Refused (`fenced`, `capture_lost`).
        """
        fence = select(FENCE.c.epoch).where(FENCE.c.tenant_id == self.tenant)
        standing = connection.execute(fence).scalar_one_or_none()
        if standing is None:
            raise NotFound
        _require_not_later(standing, epoch)
        self.metadata.create_all(connection)
        known = self.held(connection, epoch)
        if known is not None:
            return known.is_whole(triggers)
        made = {"epoch": epoch, "is_noted": True, "triggers": 0, "is_frozen": False}
        connection.execute(insert(self.state).values(**self._whose(), **made))
        return False

    def held(self, connection: Connection, epoch: int) -> State | None:
        """The state, at `epoch` from now on. Raises Refused (`fenced`)."""
        known = self.known(connection)
        if known is None:
            return None
        _require_not_later(known.epoch, epoch)
        if known.epoch != epoch:
            self._set(connection, epoch=epoch)
        return known

    def finish(self, connection: Connection, triggers: int) -> None:
        """Say that every table is captured, by so many triggers."""
        self._set(connection, triggers=triggers)

    def set_frozen(self, connection: Connection, *, is_frozen: bool) -> None:
        """Say whether rows may be written."""
        self._set(connection, is_frozen=is_frozen)

    def noted(self, connection: Connection, triggers: int) -> Noted:
        """What the outbox holds. Raises Refused (`not_captured`, `capture_lost`)."""
        known = self.known(connection)
        if known is None or not known.is_whole(triggers):
            raise not_captured()
        columns = self.outbox.c.entry, self.outbox.c.collection, self.outbox.c.row_key
        entries: list[int] = []
        keys: dict[str, set[str]] = {}
        for entry, collection, key in connection.execute(
            select(*columns).where(*self._mine(self.outbox))
        ):
            entries.append(int(entry))
            keys.setdefault(collection, set()).add(key)
        return Noted(entries, keys)

    def strike(self, connection: Connection, epoch: int, entries: Sequence[int]) -> None:
        """Take exactly these from the outbox: others have lower numbers, and commit later."""
        if self.held(connection, epoch) is None:
            raise not_captured()
        entry = self.outbox.c.entry
        for start in range(0, len(entries), _ENTRIES_PER_STEP):
            some = entries[start : start + _ENTRIES_PER_STEP]
            connection.execute(delete(self.outbox).where(*self._mine(self.outbox), entry.in_(some)))

    @contextmanager
    def passed(self, connection: Connection, epoch: int) -> Generator[None]:
        """Write what the tenant's place is to hold, though it is frozen, and note nothing of it.

        The transaction must keep every other writer of the tenant out. Raises NotFound, Refused
        (`target_open`, `fenced`).
        """
        opened = select(FENCE.c.open).where(FENCE.c.tenant_id == self.tenant)
        is_open = connection.execute(opened).scalar_one_or_none()
        if is_open is None:
            raise NotFound
        if is_open:
            raise Refused("The tenant's rows are in use there.", code="target_open", rule="fence")
        advance(connection, self.tenant, epoch)
        known = self.held(connection, epoch)
        if known is None:
            yield
            return
        self._set(connection, is_frozen=False, is_noted=False)
        yield
        self._set(connection, is_frozen=known.is_frozen, is_noted=True)

    @contextmanager
    def passed_by_all(self, connection: Connection) -> Generator[None]:
        """Change rows of whoever is frozen in the place, as its owner, and note nothing of it.

        What goes wrong must be rolled back.
        """
        if not self.stands(connection):
            yield
            return
        state = self.state
        found = select(state.c.tenant_id).where(state.c.place == self.place, state.c.is_frozen)
        frozen = connection.execute(found).scalars().all()
        theirs = update(state).where(state.c.place == self.place, state.c.tenant_id.in_(frozen))
        connection.execute(theirs.values(is_frozen=False, is_noted=False))
        yield
        connection.execute(theirs.values(is_frozen=True, is_noted=True))

    def end(self, connection: Connection) -> bool:
        """Forget the tenant's state and entries; the tables too, and True, once nobody's are left."""
        if not self.stands(connection):
            return True
        for table in (self.outbox, self.state):
            connection.execute(delete(table).where(*self._mine(table)))
        if connection.execute(select(self.state.c.tenant_id).limit(1)).first() is not None:
            return False
        self.metadata.drop_all(connection)
        return True

    def _set(self, connection: Connection, **values: bool | int) -> None:
        connection.execute(update(self.state).where(*self._mine(self.state)).values(**values))

    def _whose(self) -> dict[str, str]:
        return {"place": self.place, "tenant_id": self.tenant}

    def _mine(self, table: Table) -> tuple[ColumnElement[bool], ...]:
        return table.c.place == self.place, table.c.tenant_id == self.tenant


def not_captured() -> Refused:
    """Nothing notes what changes, or not all of it."""
    return Refused("The tenant's changes are not captured.", code="not_captured", rule="capture")


def being_moved() -> Unavailable:
    """A place whose tables stay as they are until somebody has left it."""
    return Unavailable("A tenant is being moved out of the place.", code="database_busy")


def _require_not_later(known: int, epoch: int) -> None:
    if epoch < known:
        raise Refused("A later run holds the tenant.", code="fenced", rule="epoch")
