"""A page that begins with the newest row: scanned within a bound, its cursor sealed. Not any table's handler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, ColumnElement, select, true, tuple_

from control_plane.commands import NewestFirst
from control_plane.data.cursor import open_end, seal_end
from control_plane.data.deadline import statement_deadline
from control_plane.domain.caller import EVERY_TENANT, Caller
from control_plane.domain.canonical import Json, digest
from control_plane.domain.record import Record
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import Subject, View
from control_plane.store import rows

R = TypeVar("R", bound=Record)

# A page is decided row by row in one request, so the rows of a scan are bounded: by the page that
# was asked for, and by what fits into a request beside the scan itself.
SCAN_ROWS_MAX: Final = 199
SCAN_ROWS_PER_LIMIT: Final = 5


class _Scope(BaseModel):
    """What a listing's cursor holds for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    caller: str
    listing: str
    filter: str


class _Place(NamedTuple):
    """Where a row stands in the order."""

    instant: str
    tie: str | int


class _Scanned(NamedTuple):
    """How far a scan came; no place when it saw the last row."""

    end: _Place | None


def within_grant(caller: Caller, tenant: Column[Any]) -> ColumnElement[bool]:
    """The rows of the caller's tenants; those of no tenant belong to callers with every one."""
    return true() if EVERY_TENANT in caller.tenants else tenant.in_(caller.tenants)


@dataclass(frozen=True)
class Newest(Generic[R]):
    """The rows of one table by a column of instants and another that breaks ties, both downwards."""

    model: type[R]
    instant: Column[Any]
    tie: Column[Any]

    def page(
        self,
        command: NewestFirst,
        view: View,
        where: ColumnElement[bool],
        member: Callable[[R], Subject],
    ) -> list[Subject]:
        """The rows of one scan, and last the scan itself: so a page is never empty.

        Whether there is anything to decide on must not show in what a call costs, and how far the
        scan came must be known even when the caller may read none of it. Raises NotFound for a
        cursor of another caller or question, Failed (`statement_deadline`).
        """
        count = min(SCAN_ROWS_PER_LIMIT * _limit(command, view), SCAN_ROWS_MAX)
        columns = [self.instant.table.c[name] for name in self.model.model_fields]
        statement = (
            select(*columns)
            .where(where, self._behind(command, view))
            .order_by(self.instant.desc(), self.tie.desc())
            .limit(count)
        )
        with statement_deadline(view.connection, view.ports.limits.statement_ms_max):
            found = view.connection.execute(statement).mappings().all()
        records = [rows.parse(self.model, dict(row)) for row in found]
        end = self._place(records[-1]) if len(records) == count else None
        scan = Subject(id="scan", facts=WorkspaceFacts(), loaded=_Scanned(end))
        return [*(member(one) for one in records), scan]

    def listed(
        self, command: NewestFirst, view: View, page: list[Subject]
    ) -> tuple[list[R], str | None]:
        """The rows to show of those that may be read, and the cursor of the next page."""
        *members, scan = page
        assert isinstance(scan.loaded, _Scanned), "whoever may list may read the workspace"
        limit = _limit(command, view)
        shown = [cast("R", one.loaded) for one in members[:limit]]
        end = self._place(shown[-1]) if len(members) > limit else scan.loaded.end
        if end is None:
            return shown, None
        return shown, seal_end(view.ports.cursor_key, _scope(command, view), end)

    def _behind(self, command: NewestFirst, view: View) -> ColumnElement[bool]:
        if command.after is None:
            return true()
        opened = open_end(view.ports.cursor_key, _scope(command, view), command.after)
        place = _Place(*opened)
        return tuple_(self.instant, self.tie) < tuple_(place.instant, place.tie)

    def _place(self, record: R) -> _Place:
        return _Place(getattr(record, self.instant.name), getattr(record, self.tie.name))


def _limit(command: NewestFirst, view: View) -> int:
    return min(command.limit, view.ports.limits.rows_max)


def _scope(command: NewestFirst, view: View) -> _Scope:
    restriction: dict[str, Json] = command.filter()
    return _Scope(
        caller=f"{view.caller.principal}\0{view.caller.actor}",
        listing=command.name,
        filter=digest(restriction),
    )
