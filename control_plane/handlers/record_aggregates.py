"""The handler that adds a tenant's records up. Only where policy's filter is exact: no row is looked at again."""

from __future__ import annotations

from typing import Final

from control_plane.commands import AggregateRecords, Command
from control_plane.data.aggregates import Question, aggregate
from control_plane.data.collection import Collection
from control_plane.data.filters import all_of, fields_of, parse_filter
from control_plane.data.measures import check_groups, parse_measures
from control_plane.data.tables import collection_table
from control_plane.domain.canonical import Json
from control_plane.handlers.exactness import require_exact
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.record_handles import Redeemer
from control_plane.handlers.record_place import located, offered, record_subject
from control_plane.handlers.record_sight import Sight

_ONE_ROW: Final = 1


class AggregateRecordsHandler(SingleAnswer):
    """Counts, sums and compares records, by group."""

    def subject(self, command: Command, view: View) -> Subject:
        """The collection of the tenant."""
        assert isinstance(command, AggregateRecords)
        return record_subject(view, command.tenant, command.collection, "aggregate")

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The groups. A field decides as it does in a query: only rows in which it may be read count."""
        assert isinstance(command, AggregateRecords)
        collection = offered(view.ports, command.collection, "aggregate")
        require_exact(view.connection, collection, view.ports)
        named = _named(command)
        sight = Sight(collection, view.rows, may)
        readable = sight.searchable(named)
        tree = None
        if command.filter is not None:
            redeem = Redeemer(view.ports, view.rows, subject).of(collection)
            tree = parse_filter(command.filter, collection, readable, redeem)
        measures = parse_measures(command.measures, collection, readable)
        by = check_groups(command.group_by, collection, readable)
        any_row, rule = sight.rule(named)
        rows_min = _rows_min(collection, named, grouped=bool(by))
        limits = view.ports.limits
        with located(subject).reading(view.ports, command.tenant) as connection:
            groups, more = aggregate(
                connection,
                collection,
                collection_table(collection),
                command.tenant,
                all_of(tree, rule),
                Question(measures, by, rows_min, min(command.limit, limits.rows_max)),
                any_row=any_row,
                deadline_ms=limits.statement_ms_max,
            )
        told: list[Json] = [*groups]
        return {"groups": told, "more_groups": more, "group_rows_min": rows_min}


def _named(command: AggregateRecords) -> tuple[str, ...]:
    measured = [str(one["field"]) for one in command.measures if one.get("field") is not None]
    return (*sorted(fields_of(command.filter)), *measured, *command.group_by)


def _rows_min(collection: Collection, named: tuple[str, ...], *, grouped: bool) -> int:
    # A figure over few rows tells of each: a group of fields may ask for more.
    columns = collection.columns
    groups = {columns[name].group for name in named if name in columns}
    told = [collection.groups[one].group_size_min for one in groups if one in collection.groups]
    return max((one for one in told if one is not None), default=_ONE_ROW if grouped else 0)
