"""The time of a page in a tenant's database, beside a statement written by hand. No server, and no call."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from many_tickets import PRIORITIES, TABLE, TICKETS, fill_tenant
from sqlalchemy import Connection, event

from control_plane.data.filters import parse_filter
from control_plane.data.rows import query_page
from control_plane.data.sort import Position, Sort
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.postgres_names import Names
from control_plane.databases.sqlite import SqliteDatabases
from tests.support.postgres import running_postgres
from tests.support.rows import row_id
from tests.support.tenants import tenant_server

SMALL, LARGE, OTHER = "small", "large", "other"
SMALL_ROWS: Final = 1_000
PAGE_ROWS: Final = 20
_LOADING_MS: Final = 600_000
_DEADLINE_MS: Final = 2_000
_ASKED: Final = 200
_RULE: Final = {
    "op": "or",
    "args": [
        {"op": "eq", "field": "status", "value": "open"},
        {"op": "eq", "field": "owner", "value": "o3"},
    ],
}
_COLUMNS: Final = ", ".join(column.name for column in TABLE.columns)
_RULED: Final = "(status = ? OR owner = ?)"


@dataclass(frozen=True)
class Page:
    """One page: how it is asked for, and the end of the statement that somebody would write."""

    name: str
    sort: Sort
    by_hand: str
    behind: bool = False
    rule: bool = False

    def position(self, rows: int) -> Position | None:
        """The middle of the tenant's rows."""
        if not self.behind:
            return None
        last = row_id(rows // 2)
        return Position(last if self.sort.field == "id" else PRIORITIES // 2, last)

    def values(self, tenant: str, rows: int) -> list[Any]:
        """What is bound in the statement written by hand."""
        position = self.position(rows)
        rule = ["open", "o3"] if self.rule else []
        if position is None:
            return [tenant, *rule]
        where = [position.id] if self.sort.field == "id" else [position.value, position.id]
        return [tenant, *rule, *where]


_BY_PRIORITY: Final = Sort("priority", descending=True)
PAGES: Final = (
    Page("first page", Sort(), "ORDER BY id"),
    Page("behind a cursor", Sort(), "AND id > ? ORDER BY id", behind=True),
    Page("sorted, first page", _BY_PRIORITY, "ORDER BY priority DESC, id DESC"),
    Page(
        "sorted, behind a cursor",
        _BY_PRIORITY,
        "AND (priority, id) < (?, ?) ORDER BY priority DESC, id DESC",
        behind=True,
    ),
    Page("under a rule, first page", Sort(), f"AND {_RULED} ORDER BY id", rule=True),
    Page(
        "under a rule, behind a cursor",
        Sort(),
        f"AND {_RULED} AND id > ? ORDER BY id",
        behind=True,
        rule=True,
    ),
)


@dataclass(frozen=True)
class Times:
    """Microseconds of one page: in the database by us and by hand, and of the whole reading of it."""

    ours_us: float
    by_hand_us: float
    read_us: float


@contextmanager
def engines(rows: int) -> Generator[dict[str, DatabaseEngine]]:
    """Each engine with a small and a large tenant, and another, in one database. All goes at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paybill-bench-")))
        lite = SqliteDatabases(folder, 5_000)
        stack.callback(lite.close)
        server = stack.enter_context(tenant_server(stack.enter_context(running_postgres())))
        with server.engine(statement_ms_max=_LOADING_MS) as loading:
            for databases in (lite, loading):
                for tenant, count in ((OTHER, rows), (SMALL, SMALL_ROWS), (LARGE, rows)):
                    databases.create(tenant, "pooled", [TICKETS], 1)
                    fill_tenant(databases, tenant, count)
        with server.raw(server.owner, Names(server.prefix).shared) as raw:
            raw.execute("VACUUM (ANALYZE) pooled.tickets")
        yield {
            "SQLite": lite,
            "Postgres": stack.enter_context(
                server.engine(as_face=True, statement_ms_max=_DEADLINE_MS)
            ),
        }


def measured(databases: DatabaseEngine, page: Page, tenant: str, rows: int) -> Times:
    """The medians of one page, its two statements asked by turns on one connection."""
    tree = parse_filter(_RULE, TICKETS, TICKETS.columns) if page.rule else None
    with databases.reading(tenant, "pooled") as connection:

        def read() -> int:
            found = query_page(
                connection,
                TABLE,
                tenant,
                tree,
                page.sort,
                PAGE_ROWS,
                page.position(rows),
                deadline_ms=_DEADLINE_MS,
            )
            return len(found.rows)

        assert read() == PAGE_ROWS
        sent = _sent(connection, read)
        by_hand = _by_hand(connection, page, tenant, rows)
        taken_us: dict[str, list[float]] = {"ours": [], "by hand": [], "read": []}
        turns = [("ours", sent), ("by hand", by_hand)]
        for _ in range(_ASKED):
            # By turns, and each first as often: whoever comes first finds a server that slept.
            turns.reverse()
            for name, statements in turns:
                taken_us[name].append(_asked_us(connection, statements))
        for _ in range(_ASKED):
            start = time.perf_counter()
            read()
            taken_us["read"].append((time.perf_counter() - start) * 1e6)
    return Times(*(statistics.median(one) for one in taken_us.values()))


def _sent(connection: Connection, read: Any) -> list[tuple[str, Any]]:
    sent: list[tuple[str, Any]] = []

    def keep(_c: Any, _k: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", keep)
    try:
        read()
    finally:
        event.remove(connection, "before_cursor_execute", keep)
    return sent


def _by_hand(connection: Connection, page: Page, tenant: str, rows: int) -> list[tuple[str, Any]]:
    # Constant texts of this file; one row more than asked, as whoever pages by hand does.
    written = (
        f"SELECT {_COLUMNS} FROM tickets WHERE tenant_id = ? {page.by_hand} LIMIT {PAGE_ROWS + 1}"  # noqa: S608
    )
    values = tuple(page.values(tenant, rows))
    if connection.dialect.name == "sqlite":
        return [(written, values)]
    return [(written.replace("?", "%s"), values)]


def _asked_us(connection: Connection, statements: list[tuple[str, Any]]) -> float:
    driver = connection.connection.driver_connection
    assert driver is not None
    cursor = driver.cursor()
    start = time.perf_counter()
    for statement, parameters in statements:
        cursor.execute(statement, parameters)
        cursor.fetchall()
    taken_us = (time.perf_counter() - start) * 1e6
    cursor.close()
    return taken_us
