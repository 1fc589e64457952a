"""Handlers that read a tenant's records: a page, one, and what a collection looks like. They change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection

from control_plane.commands import Command, DescribeCollections, GetRecord, QueryRecords
from control_plane.data.collection import Collection
from control_plane.data.cursor import CursorScope, cursor_scope, open_cursor, seal_cursor
from control_plane.data.filters import Tree, all_of, fields_of, parse_filter
from control_plane.data.rows import get_row, query_page
from control_plane.data.sort import Position, Sort, check_sort
from control_plane.data.tables import collection_table
from control_plane.domain.canonical import Json
from control_plane.errors import BadInput, NotFound
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.record_handles import Redeemer, giving
from control_plane.handlers.record_place import located, offered, record_subject
from control_plane.handlers.record_sight import Sight, untrusted

# Where plan and rule differ, how often the page is filled up from the next rows.
_FILLS_MAX: Final = 3


class _Search(NamedTuple):
    """One query: what is asked, in what order, within what the rule leaves."""

    collection: Collection
    sight: Sight
    tree: Tree | None
    sort: Sort
    fields: frozenset[str] | None
    scope: CursorScope
    named: tuple[str, ...]


class QueryRecordsHandler(SingleAnswer):
    """Reads a page of records."""

    def subject(self, command: Command, view: View) -> Subject:
        """The collection of the tenant."""
        assert isinstance(command, QueryRecords)
        return record_subject(view, command.tenant, command.collection, "query")

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The page, and a cursor that is good for this caller and this query alone."""
        assert isinstance(command, QueryRecords)
        search = _search(command, view, subject, may)
        place, key = located(subject), view.ports.cursor_key
        position = None
        if command.cursor is not None:
            position = open_cursor(key, search.scope, search.collection, command.cursor)
        any_row, rule = search.sight.rule((*_named(command.filter), search.sort.field))
        records: list[dict[str, Json]] = []
        if any_row:
            tree = all_of(search.tree, rule)
            limit = min(command.limit, view.ports.limits.rows_max)
            limit = min(limit, search.collection.limits.page_rows_max)
            with place.reading(view.ports, command.tenant) as connection:
                deadline_ms = view.ports.limits.statement_ms_max
                records, position = _filled(
                    connection, search, command.tenant, tree, limit, position, deadline_ms
                )
        else:
            position = None
        return {
            "records": records,
            "next_cursor": None if position is None else seal_cursor(key, search.scope, position),
            "untrusted_fields": untrusted(search.collection, records),
        }


class GetRecordHandler(SingleAnswer):
    """Reads one record."""

    def subject(self, command: Command, view: View) -> Subject:
        """The collection of the tenant."""
        assert isinstance(command, GetRecord)
        return record_subject(view, command.tenant, command.collection, "query")

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The record. Raises NotFound, at the same cost, where it is absent or hidden."""
        assert isinstance(command, GetRecord)
        collection = offered(view.ports, command.collection, "get")
        giving_now = giving(view, command.tenant, collection)
        sight = Sight(collection, view.rows, may, giving_now)
        fields = _chosen(command.fields, sight.searchable(command.fields))
        table = collection_table(collection)
        with located(subject).reading(view.ports, command.tenant) as connection:
            row = get_row(connection, table, command.tenant, command.record_id)
        if row is None:
            sight.phantom()
            raise NotFound
        seen = sight.seen([row], fields)
        if not seen:
            raise NotFound
        return {"record": seen[0], "untrusted_fields": untrusted(collection, seen)}


class DescribeCollectionsHandler(SingleAnswer):
    """Tells what the workspace declares. No row, and nothing of any tenant."""

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace."""
        return Subject(id="workspace", facts=WorkspaceFacts())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """Every collection with its verbs, or the one that is named with its fields."""
        assert isinstance(command, DescribeCollections)
        declared = view.ports.catalog.collections
        if not command.collection:
            return {"collections": [_line(one) for _, one in sorted(declared.items())]}
        found = declared.get(command.collection)
        if found is None:
            raise NotFound
        return {"collections": [{**_line(found), "fields": _fields(found)}]}


def _search(command: QueryRecords, view: View, subject: Subject, may: frozenset[str]) -> _Search:
    collection = offered(view.ports, command.collection, "query")
    sight = Sight(collection, view.rows, may, giving(view, command.tenant, collection))
    sort = _sort(command.sort)
    searchable = sight.searchable((*_named(command.filter), sort.field, *command.fields))
    tree = None
    if command.filter is not None:
        redeem = Redeemer(view.ports, view.rows, subject).of(collection)
        tree = parse_filter(command.filter, collection, searchable, redeem)
    sort = check_sort(sort, collection, searchable)
    scope = cursor_scope(
        caller=f"{view.caller.principal}\0{view.caller.actor}",
        tenant=command.tenant,
        collection=collection,
        predicate=tree,
        sort=sort,
        bundle=view.ports.catalog.digest,
    )
    named = (*_named(command.filter), sort.field)
    return _Search(collection, sight, tree, sort, _chosen(command.fields, searchable), scope, named)


def _filled(
    connection: Connection,
    search: _Search,
    tenant: str,
    tree: Tree | None,
    limit: int,
    position: Position | None,
    deadline_ms: int,
) -> tuple[list[dict[str, Json]], Position | None]:
    table, records = collection_table(search.collection), list[dict[str, Json]]()
    for _ in range(_FILLS_MAX):
        wanted = limit - len(records)
        page = query_page(
            connection, table, tenant, tree, search.sort, wanted, position, deadline_ms=deadline_ms
        )
        records += search.sight.seen(page.rows, search.fields, search.named)
        position = page.next
        if position is None or len(records) == limit:
            break
    return records, position


def _named(tree: object) -> frozenset[str]:
    return fields_of(tree)


def _sort(text: str | None) -> Sort:
    if text is None:
        return Sort()
    return Sort(field=text.removeprefix("-"), descending=text.startswith("-"))


def _chosen(fields: Iterable[str], readable: frozenset[str]) -> frozenset[str] | None:
    chosen = frozenset(fields)
    if not chosen:
        return None
    if not chosen <= readable:
        raise BadInput("fields", "unknown field")
    # Without its id and version a record can be neither named nor changed.
    return chosen | ({"id", "version"} & readable)


def _line(collection: Collection) -> dict[str, Json]:
    return {
        "collection": collection.name,
        "description": collection.description,
        "verbs": [*collection.offered_verbs],
        "reference": collection.reference,
    }


def _fields(collection: Collection) -> dict[str, Json]:
    return {
        name: field.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        | {"kind": field.kind}
        | ({"leaves_as": "handle"} if name in collection.handled else {})
        for name, field in collection.columns.items()
        if name != "tenant_id"
    }
