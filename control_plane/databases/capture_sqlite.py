"""The triggers by which a SQLite file notes and refuses changes of one tenant's rows. Not who reads it.

They bind whoever writes the file, with whatever program. A statement may replace a row that stands in
its way (`INSERT OR REPLACE`), and SQLite tells no trigger of it: so the rows that a new value could
drive out are noted before it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import (
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Connection,
    Insert,
    String,
    Table,
    UniqueConstraint,
    and_,
    case,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from control_plane.data.moving_ends import READ_ONLY
from control_plane.data.moving_parts import Moved, Part
from control_plane.data.team_shape import OWNER, SEPARATOR
from control_plane.databases.capturing import Capturing

Moment: TypeAlias = Literal[
    "BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "AFTER UPDATE", "AFTER DELETE"
]
_NEW: Final = ("NEW",)
_OLD: Final = ("OLD",)
# Of whose rows a moment is about: those that it adds, and those that it takes.
_SIDES: Final[dict[Moment, tuple[str, ...]]] = {
    "BEFORE INSERT": _NEW,
    "AFTER INSERT": _NEW,
    "BEFORE UPDATE": _NEW,
    "AFTER UPDATE": (*_OLD, *_NEW),
    "AFTER DELETE": _OLD,
}
_PREFIX: Final = "paybill_moving"


class CreateCapture(ExecutableDDLElement):
    """CREATE TRIGGER for one moment of one table."""

    inherit_cache = False

    def __init__(self, capturing: Capturing, part: Part, moment: Moment) -> None:
        self.capturing = capturing
        self.part = part
        self.moment: Moment = moment


class DropTrigger(ExecutableDDLElement):
    """DROP TRIGGER."""

    inherit_cache = False

    def __init__(self, name: str) -> None:
        self.name = name


def captures(capturing: Capturing, moved: Moved) -> Iterator[CreateCapture]:
    """Every trigger that the tenant's tables take."""
    for part in moved.parts.values():
        for moment in _SIDES:
            if not moment.startswith("BEFORE") or _unique(part.table):
                yield CreateCapture(capturing, part, moment)


def add_triggers(connection: Connection, capturing: Capturing, moved: Moved) -> None:
    """Make those that are not there."""
    standing = set(standing_triggers(connection, capturing.tenant))
    for statement in captures(capturing, moved):
        if _name(statement) not in standing:
            connection.execute(statement)


def drop_triggers(connection: Connection, tenant: str) -> None:
    """Remove all of the tenant's."""
    for name in standing_triggers(connection, tenant):
        connection.execute(DropTrigger(name))


def standing_triggers(connection: Connection, tenant: str) -> Sequence[str]:
    """The names of the tenant's."""
    found = connection.execute(text("SELECT name FROM main.sqlite_master WHERE type = 'trigger'"))
    # No id of a tenant has a dot.
    return [str(name) for (name,) in found if str(name).startswith(f"{_PREFIX}.{tenant}.")]


def _name(element: CreateCapture) -> str:
    moment = element.moment.replace(" ", "_").lower()
    return f"{_PREFIX}.{element.capturing.tenant}.{element.part.name}.{moment}"


def _unique(table: Table) -> list[list[str]]:
    """The columns of which a tenant has each value, or each of several together, once."""
    keys = (one for one in table.constraints if isinstance(one, UniqueConstraint))
    return sorted([column.name for column in key.columns if column.name != OWNER] for key in keys)


def _told_key(values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    """A team's key: each value behind the letter of how it is kept, so that none looks like another."""
    said = [
        case(
            (func.typeof(one) == "text", literal("t").concat(func.hex(one))),
            (func.typeof(one) == "blob", literal("b").concat(func.hex(one))),
            (func.typeof(one) == "integer", literal("i").concat(one)),
            # Only so are all of its digits told.
            (func.typeof(one) == "real", literal("r").concat(func.quote(one))),
            else_=literal("n"),
        )
        for one in values
    ]
    told: ColumnElement[Any] = said[0] if said else literal("")
    for one in said[1:]:
        told = told.concat(literal(SEPARATOR)).concat(one)
    return told


@compiles(DropTrigger)
def _drop_trigger(element: DropTrigger, compiler: DDLCompiler, **_: Any) -> str:
    return f"DROP TRIGGER {compiler.preparer.quote(element.name)}"


@compiles(CreateCapture)
def _create_capture(element: CreateCapture, compiler: DDLCompiler, **_: Any) -> str:
    return _Written(element, compiler).trigger()


class _Written:
    """One trigger as it is said."""

    def __init__(self, element: CreateCapture, compiler: DDLCompiler) -> None:
        self._element = element
        self._mine = element.capturing
        self._part = element.part
        self._compiler = compiler

    def trigger(self) -> str:
        quote, told = self._compiler.preparer.quote, self._told
        sides = _SIDES[self._element.moment]
        whose = or_(*(self._of(side, OWNER) == self._mine.tenant for side in sides))
        notes = "".join(f"{told(self._note(side))}; " for side in sides)
        return (
            f"CREATE TRIGGER {quote(_name(self._element))} {self._element.moment}"
            f" ON {quote(self._part.name)} FOR EACH ROW WHEN {told(whose)} BEGIN"
            f" SELECT RAISE(ABORT, {told(literal(READ_ONLY))})"
            f" WHERE {told(self._is('is_frozen'))}; {notes}END"
        )

    def _note(self, side: str) -> Insert:
        named = (self._mine.place, self._mine.tenant, self._part.name)
        whose = [literal(one, String()) for one in named]
        if self._element.moment.startswith("AFTER"):
            key = self._key([self._of(side, one.name) for one in self._part.keys])
            rows = select(*whose, key).where(self._of(side, OWNER) == self._mine.tenant)
        else:
            standing = self._part.table.alias("standing")
            same = [
                and_(true(), *(standing.c[name] == self._of(side, name) for name in key))
                for key in _unique(self._part.table)
            ]
            key = self._key([standing.c[one.name] for one in self._part.keys])
            rows = select(*whose, key).where(
                standing.c[OWNER] == literal(self._mine.tenant, String()), or_(*same)
            )
        into = ["place", "tenant_id", "collection", "row_key"]
        return insert(self._mine.outbox).from_select(into, rows.where(self._is("is_noted")))

    def _key(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        return _told_key(values) if self._part.is_team else values[0]

    def _is(self, flag: str) -> ColumnElement[bool]:
        state = self._mine.state
        mine = select(state.c.epoch).where(state.c.tenant_id == self._mine.tenant, state.c[flag])
        return mine.exists()

    def _of(self, side: str, name: str) -> ColumnClause[Any]:
        """A column of the row that the trigger is asked for, as it was or as it is."""
        return literal_column(f"{side}.{self._compiler.preparer.quote(name)}")

    def _told(self, element: ClauseElement) -> str:
        return self._compiler.sql_compiler.process(element, literal_binds=True)
