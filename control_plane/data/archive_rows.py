"""A tenant's archived rows out of a database and into one, a page at a time. Not their lines, nor their sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Insert,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql

from control_plane.data.archive_lines import Page, objects_of
from control_plane.data.archive_parts import OWNER, Part

# No column is called so.
_WHOSE: Final = "TENANT"
_ROWS: Final = "ROWS"


def pages_of(connection: Connection, part: Part, tenant: str) -> Iterator[Page]:
    """The tenant's rows of a table, in the order of their keys; the connection is in a transaction."""
    (key,) = (one for one in part.table.primary_key.columns if one.name != OWNER)
    mine = select(*(part.table.c[name] for name in part.fields)).where(
        part.table.c[OWNER] == tenant
    )
    # One statement, held open, and a page fetched at a time: where a table has just been filled, a
    # statement for each page may look at all of it each time.
    ordered, options = mine.order_by(key), {"yield_per": part.page_rows}
    with connection.execute(ordered, execution_options=options) as held:
        for found in held.partitions():
            yield Page(part, list(zip(*found, strict=True)))


def has_rows(connection: Connection, part: Part, tenant: str) -> bool:
    """Whether the tenant has a row in a table."""
    mine = select(part.table.c[OWNER]).where(part.table.c[OWNER] == tenant)
    return connection.execute(mine.limit(1)).first() is not None


class Adding:
    """Adds pages of rows for a tenant; every rule of the database is looked at for every row."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        # Made once a table: to make a statement takes as long as to add some rows.
        self._told: dict[str, Insert] = {}
        self._typed: dict[str, tuple[str, Sequence[str]]] = {}

    def add(self, page: Page, lines: Sequence[bytes]) -> None:
        """Add the rows, whose lines these are."""
        if self._connection.dialect.name != "postgresql":
            self._add_typed(page)
        elif page.part.images is not None:
            # They are kept as the text that they are: nothing else is to take them apart.
            rows = [{OWNER: self._tenant, **row} for row in page.rows()]
            self._connection.execute(insert(page.part.table), rows)
        else:
            self._add_told(page.part, lines)

    def _add_told(self, part: Part, lines: Sequence[bytes]) -> None:
        name = part.table.name
        if name not in self._told:
            self._told[name] = _taken(part)
        given = {_WHOSE: self._tenant, _ROWS: objects_of(part, lines)}
        self._connection.execute(self._told[name], given)

    def _add_typed(self, page: Page) -> None:
        table, dialect = page.part.table, self._connection.dialect
        if table.name not in self._typed:
            self._typed[table.name] = _placed(page.part, dialect)
        statement, order = self._typed[table.name]
        values = dict(zip(page.part.fields, page.columns, strict=True))
        values[OWNER] = [self._tenant] * len(page.columns[0])
        bound = (_bound(table.c[name], values[name], dialect) for name in order)
        # What the driver takes, as it takes it: a dictionary a row is half of what adding one costs.
        self._connection.exec_driver_sql(statement, list(zip(*bound, strict=True)))


def _placed(part: Part, dialect: Dialect) -> tuple[str, Sequence[str]]:
    """A statement for one row, and the columns in the order of its places."""
    made = insert(part.table).compile(dialect=dialect, column_keys=[OWNER, *part.fields])
    return str(made), made.positiontup or ()


def _bound(column: Column[Any], values: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
    bind = column.type.dialect_impl(dialect).bind_processor(dialect)
    return values if bind is None else [bind(one) for one in values]


def _taken(part: Part) -> Insert:
    """All rows of a page by one statement, which takes them apart.

    Each row by a statement of its own takes ten times as long: what counts records, for one, is
    called for every statement.
    """
    columns = [column(name, part.table.c[name].type) for name in part.fields]
    document = cast(bindparam(_ROWS, type_=Text), postgresql.JSON)
    given = func.json_to_recordset(document).table_valued(*columns, name="given")
    taken = given.render_derived(with_types=True)
    owner: Any = bindparam(_WHOSE, type_=part.table.c[OWNER].type)
    rows = select(owner, *(taken.c[name] for name in part.fields))
    return insert(part.table).from_select([OWNER, *part.fields], rows)
