"""Many rows as one parameter of a statement, on both engines. Knows no table.

A thousand rows as parameters of their own take longer to hand over than to write. As one JSON text
they are taken apart by the database, and the statement is the same however many they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection, FromClause, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql

Engine: TypeAlias = Literal["sqlite", "postgresql"]

PARAMETER: Final = "batch"
"""What the statement's parameter is called."""


def rows_of(engine: Engine, names: Sequence[str]) -> FromClause:
    """The rows of a batch, to select from: text columns of these names."""
    given = bindparam(PARAMETER, type_=Text)
    if engine == "postgresql":
        columns = [column(name, Text) for name in names]
        document = cast(given, postgresql.JSON)
        taken = func.json_to_recordset(document).table_valued(*columns, name="batch")
        return taken.render_derived(with_types=True)
    each = func.json_each(given).table_valued("value", name="batch")
    parts = [func.json_extract(each.c.value, f"$.{name}", type_=Text) for name in names]
    return select(*(part.label(name) for part, name in zip(parts, names, strict=True))).subquery()


def engine_of(connection: Connection) -> Engine:
    """Which of the two engines this is."""
    return "sqlite" if connection.dialect.name == "sqlite" else "postgresql"


def text_of(rows: Sequence[Mapping[str, str]]) -> str:
    """The parameter's value: rows of text by column."""
    return json.dumps(rows)
