"""One table to the draft of one collection: fields, indexes and what is lost. Not its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from control_plane.data.collection_rules import INDEXES_MAX, check_indexes
from control_plane.data.declaration_errors import DeclarationError
from control_plane.data.field import FIELDS_MAX, Field
from control_plane.data.pulling.draft import CollectionDraft, FieldDraft, Remark, Remarks
from control_plane.data.pulling.groups import proposed_group
from control_plane.data.pulling.keys import Surroundings
from control_plane.data.pulling.kinds import Kind, NoKind, default_of, kind_of, narrowed
from control_plane.data.pulling.literals import (
    Membership,
    NoLiteral,
    Number,
    default_literal,
    membership,
)
from control_plane.data.pulling.names import field_names, snake_case, told
from control_plane.data.pulling.schema import Column, Link, Table
from control_plane.data.values import ValueReader

_NAME_CHARS_MAX = 128
_COMMENT_CHARS_MAX = 340
_INDEX_FIELDS_MAX = 4
_UNIQUE_KINDS = frozenset(
    ["string", "integer", "decimal", "money", "date", "timestamp", "uuid", "enum", "reference"]
)


class TableMapping:
    """The mapping of one table among those that are pulled with it; used once."""

    def __init__(self, table: Table, around: Surroundings) -> None:
        self._table = table
        self._around = around
        self._surrogate = around.surrogate(table)
        self._proposed: list[Remark] = []
        self._not_mapped: list[Remark] = []
        self._notes: list[Remark] = []
        self._lists = self._memberships()

    def draft(self) -> CollectionDraft:
        """The collection's draft; without fields where no column has a kind."""
        self._say_whose()
        fields = self._fields()
        fields, together = self._unique(fields)
        indexes = self._indexes(fields, together)
        return CollectionDraft(
            self._table.name,
            self._around.names[self._table.name],
            self._description(),
            tuple(fields),
            indexes,
            Remarks(tuple(self._proposed), tuple(self._not_mapped), tuple(self._notes)),
        )

    # fields -------------------------------------------------------------------------------------

    def _fields(self) -> list[FieldDraft]:
        kinds: list[tuple[Column, Kind]] = []
        for column in self._table.columns:
            kind = self._kind(column)
            if kind is not None and len(kinds) == FIELDS_MAX:
                self._lose(column.name, f"a collection has at most {FIELDS_MAX} fields")
            elif kind is not None:
                kinds.append((column, kind))
        names = field_names(column.name for column, _ in kinds)
        return [self._field(column, kind, names[column.name]) for column, kind in kinds]

    def _kind(self, column: Column) -> Kind | None:
        tenant = self._around.tenant
        if tenant is not None and column.name == tenant.column:
            said = "given as" if tenant.given else "looks like"
            self._propose(
                column.name, f"{said} the tenant's key: left out, rows belong to a tenant"
            )
            return None
        if column.name == self._surrogate:
            self._note(column.name, "the primary key: Paybill's own id stands in its place")
            return None
        if column.generated:
            self._lose(column.name, "a generated column (proposal: computed)")
            return None
        return self._reference(column) or self._plain(column)

    def _reference(self, column: Column) -> Kind | None:
        for link in self._links(column):
            reason = self._around.referred(link)
            if reason is None:
                name = self._around.names[str(link.table)]
                return Kind({"kind": "reference", "collection": name})
            self._lose(column.name, reason)
        return None

    def _links(self, column: Column) -> list[Link]:
        pairs = [(link, self._around.pairs(link)) for link in self._table.links]
        return [link for link, both in pairs if len(both) == 1 and both[0][0] == column.name]

    def _plain(self, column: Column) -> Kind | None:
        kind = kind_of(column.type, keyed=column.name in self._table.keyed)
        if isinstance(kind, NoKind):
            self._lose(column.name, kind.reason)
            return None
        members = self._lists.pop(column.name, None)
        if members is None or _is_flag(kind, members):
            return kind
        listed = narrowed(kind, members)
        if isinstance(listed, NoKind):
            self._lose(column.name, f"its list of values: {listed.reason}")
            return kind
        return listed

    def _field(self, column: Column, kind: Kind, name: str) -> FieldDraft:
        options: dict[str, Any] = dict(kind.options)
        description = self._described(column.comment, "column", column.name, name)
        if description:
            options["description"] = description
        if column.nullable and column.name not in self._table.key:
            options["nullable"] = True
        group = proposed_group(column.name, column.comment, kind.name)
        if group is not None:
            options["group"] = group
            self._propose(column.name, f"group {group}")
        for note in kind.notes:
            self._note(column.name, note)
        if name != snake_case(column.name):
            self._note(column.name, f"named {name}: that name was taken, or is none here")
        return self._with_default(FieldDraft(column.name, name, options), column, kind)

    def _with_default(self, field: FieldDraft, column: Column, kind: Kind) -> FieldDraft:
        if column.default is None:
            return field
        try:
            literal = default_literal(column.default)
            if literal is None:
                return field
            default = default_of(kind, literal)
            ValueReader(field.field(), stored=True).read(default)
            return field.option("default", default)
        except (NoLiteral, ValueError):
            self._lose(column.name, "its default is no literal of the kind")
            return field

    # constraints --------------------------------------------------------------------------------

    def _memberships(self) -> dict[str, Membership]:
        found: dict[str, Membership] = {}
        known = {one.name.casefold(): one.name for one in self._table.columns}
        for check in self._table.checks:
            try:
                members = membership(check)
            except NoLiteral:
                self._lose("check", "a check that is no list of values of one column")
                continue
            exact = self._table.column(members.column) is not None
            name = members.column if exact else known.get(members.column.casefold())
            if name is None or name in found:
                self._lose("check", "a check that is no list of values of one column")
            else:
                found[name] = members
        return found

    def _unique(self, fields: list[FieldDraft]) -> tuple[list[FieldDraft], list[tuple[str, ...]]]:
        """The fields, marked where they are unique alone; and the columns unique together."""
        around, table = self._around, self._table
        sets = [around.key(table), *map(around.own, table.uniques)]
        sets += [around.own(one.columns) for one in table.indexes if one.unique and one.plain]
        marked = {one.column: one for one in fields}
        together: list[tuple[str, ...]] = []
        for columns in dict.fromkeys(sets):
            if len(columns) > 1:
                self._lose(_listed(columns), "unique together: here a field is unique alone")
                together.append(columns)
            elif columns and columns != (self._surrogate,):
                self._mark_unique(marked, columns[0])
        return list(marked.values()), together

    def _mark_unique(self, marked: dict[str, FieldDraft], column: str) -> None:
        if column not in marked:
            self._lose(column, "that it is unique: it is no field")
            return
        field = marked[column].option("unique", True)
        try:
            check_indexes((), {field.name: field.field()})
        except ValidationError:
            self._lose(column, f"that it is unique: kind {field.options['kind']} cannot be")
        except DeclarationError as error:
            self._lose(column, f"that it is unique: it {error.rule}")
        else:
            marked[column] = field

    def _indexes(
        self, fields: Sequence[FieldDraft], together: Sequence[tuple[str, ...]]
    ) -> tuple[tuple[str, ...], ...]:
        self._say_lost_links()
        wanted = list(together)
        for index in self._table.indexes:
            if index.plain:
                wanted.append(self._around.own(index.columns))
            else:
                reason = "an index of some rows, of an expression or by another method"
                self._lose(f"index {_listed(index.columns or ('expression',))}", reason)
        drafts = {one.column: one for one in fields}
        declared = {one.name: one.field() for one in fields}
        kept: list[tuple[str, ...]] = []
        for columns in dict.fromkeys(wanted):
            if self._needs_none(columns, drafts):
                continue
            names = tuple(drafts[one].name for one in columns if one in drafts)
            why = _unindexed(names, len(columns), kept, declared)
            if why is None:
                kept.append(names)
            else:
                self._lose(f"index {_listed(columns)}", why)
        return tuple(kept)

    def _needs_none(self, columns: tuple[str, ...], drafts: Mapping[str, FieldDraft]) -> bool:
        if not columns or columns == (self._surrogate,):
            return True
        only = drafts.get(columns[0]) if len(columns) == 1 else None
        return only is not None and bool(only.options.get("unique"))

    def _say_lost_links(self) -> None:
        for link in self._table.links:
            own = self._around.own(link.columns)
            if len(own) > 1:
                self._lose(_listed(own), "a foreign key of several columns is no reference")
            elif not self._around.pairs(link) and own:
                self._lose(_listed(own), "its foreign key does not tell what it leads to")
        for column in self._lists:
            self._lose("check", f"a list of values of {column}, which is no plain field")

    # words --------------------------------------------------------------------------------------

    def _say_whose(self) -> None:
        tenant = self._around.tenant
        if tenant is None:
            return
        if self._table.name == tenant.table:
            self._note("", "the tenants themselves: Paybill keeps its own; apply it only if needed")
        elif self._table.column(tenant.column) is None:
            self._note("", f"has no {tenant.column}: here each tenant has rows of its own")

    def _description(self) -> str:
        table = self._table
        name = self._around.names[table.name]
        if name != snake_case(table.name):
            self._note("", f"named {name}: that name was taken, or is none here")
        described = self._described(table.comment, "table", table.name, name)
        return described or f"Rows of the table {name}."

    @staticmethod
    def _described(comment: str, what: str, origin: str, name: str) -> str:
        said = told(comment, _COMMENT_CHARS_MAX if origin != name else 500)
        if origin == name:
            return said
        whence = f"({what} {told(origin, _NAME_CHARS_MAX)})"
        return f"{said} {whence}" if said else f"The {what} {told(origin, _NAME_CHARS_MAX)}."

    def _propose(self, part: str, text: str) -> None:
        self._proposed.append(Remark(part, text))

    def _lose(self, part: str, text: str) -> None:
        self._not_mapped.append(Remark(part, text))

    def _note(self, part: str, text: str) -> None:
        self._notes.append(Remark(part, text))


def _unindexed(
    names: tuple[str, ...],
    columns_count: int,
    kept: Sequence[tuple[str, ...]],
    fields: Mapping[str, Field],
) -> str | None:
    if len(names) < columns_count:
        return "a column of it is no field"
    if len(names) > _INDEX_FIELDS_MAX or len(kept) == INDEXES_MAX:
        return f"a collection has {INDEXES_MAX} indexes of {_INDEX_FIELDS_MAX} fields at most"
    try:
        check_indexes([*kept, names], fields)
    except DeclarationError as error:
        return f"an index here {error.rule}" if error.rule.startswith("must") else error.rule
    return None


def _listed(columns: Sequence[str]) -> str:
    return f"({', '.join(columns)})"


def _is_flag(kind: Kind, members: Membership) -> bool:
    # What the database writes for a truth value where it has no type for one.
    digits = {one.digits for one in members.values if isinstance(one, Number)}
    return kind.name == "boolean" and len(members.values) == len(digits) and digits <= {"0", "1"}
